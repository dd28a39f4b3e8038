/**
 * The example in docs/testing.md is run as it stands there, under node:test: the buggy program fails with the message that
 * the page shows, the fixed one passes; and a process that has run them ends by itself.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { snippetsOf } from '../support/house.ts'

/** From this checkout, and for another runner. */
function adapted(code: string): string {
  return code
    .replaceAll("'tailrace'", "'../../src/index.ts'")
    .replaceAll("'tailrace/testing'", "'../../src/testing/index.ts'")
    .replaceAll("'vitest'", "'node:test'")
}

function run(...args: readonly string[]): Promise<{ readonly code: unknown; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, (error, output) => resolve({ code: error?.code ?? 0, output }))
  })
}

test('the example of the documentation finds its bug under node:test, and passes once it is fixed', async () => {
  const files = snippetsOf('docs/testing.md')
  const testCode = files.get('sales.test.ts')!
  const fixed = testCode
    .replace(
      "import { handle, reset, tables } from './sales.ts'",
      "import { handle, tables } from './sales-fixed.ts'",
    )
    .replace(', beforeRun: reset', '')
  mkdirSync('.cache', { recursive: true })
  const folder = mkdtempSync(join('.cache', 'sales-'))
  try {
    for (const [name, code] of [...files, ['sales-fixed.test.ts', fixed] as const]) {
      writeFileSync(join(folder, name), adapted(code))
    }
    const under = (name: string) =>
      run('--import', 'tsx', '--test-reporter', 'tap', '--test', join(folder, name))
    const [broken, sound] = await Promise.all([under('sales.test.ts'), under('sales-fixed.test.ts')])
    const page = readFileSync('docs/testing.md', 'utf8')
    const shown = /```text\n([\s\S]*?)```/.exec(page)![1]!
    const lines = broken.output.split('\n').map((line) => line.trim())
    for (const line of shown.split('\n')) expect(lines).toContain(line.trim())
    expect(broken).toMatchObject({ code: 1, output: expect.stringContaining('# fail 1') })
    expect(sound).toMatchObject({ code: 0, output: expect.stringContaining('# pass 1') })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
