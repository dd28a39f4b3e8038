/** The version of the package, for whoever reads a recording of it. */
import { createRequire } from 'node:module'

export function tailraceVersion(): string {
  try {
    // by the package's own name: built and run from source it lies at different depths
    const { version } = createRequire(import.meta.url)('tailrace/package.json') as { version: string }
    return version
  } catch {
    // in a bundle there is no package.json
    return 'unknown'
  }
}
