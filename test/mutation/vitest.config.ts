import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { parts } from './parts.ts'

const root = join(import.meta.dirname, '../..')
const part = parts.find(({ name }) => name === process.env['MUTATION_PART']) ?? parts[0]!

const place = ({ moduleId }: TestSpecification): number =>
  part.last.findIndex((test) => moduleId === join(root, test))

class QuickFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => place(a) - place(b) || a.moduleId.localeCompare(b.moduleId))
  }
}

/** No servers; everything in one worker, which is a new one for each mutant. */
export default defineConfig({
  test: {
    root,
    include: [part.tests],
    exclude: [...part.without],
    setupFiles: [join(import.meta.dirname, 'setup.ts')],
    sequence: { sequencer: QuickFirst },
    isolate: false,
    maxWorkers: 1,
    testTimeout: part.patienceMs,
  },
})
