/** Puts the inspector's page together: one file that needs nothing else, from src/inspect/page. */
import { build } from 'esbuild'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const pageFile = 'src/inspect/page/page.html'

const folder = new URL('../../src/inspect/page/', import.meta.url)
const styles = ['base.css', 'layout.css', 'parts.css', 'chart.css']

export async function inspectorPage(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('main.ts', folder))],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    minifyWhitespace: true,
    minifySyntax: true,
    logLevel: 'error',
  })
  const script = outputFiles[0]!.text.trim()
  const style = styles.map((file) => readFileSync(new URL(file, folder), 'utf8')).join('')
  const template = readFileSync(new URL('template.html', folder), 'utf8')
  // as functions: `$&` in them would stand for something
  return template.replace(/\/\* css \*\//, () => style).replace(/\/\* js \*\//, () => script)
}
