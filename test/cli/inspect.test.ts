/** `tailrace inspect`: the page on a trace, until Ctrl-C. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import { memoryStore } from '../../src/testing/index.ts'
import { ask } from '../inspect/looking.ts'
import { numbered, row, setRow } from '../support/indexers.ts'
import { tailrace } from './command.ts'

vi.setConfig({ testTimeout: 120_000 })

let folder = ''
let trace = ''
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tailrace-inspect-'))
  trace = join(folder, 'trace.jsonl')
  const source = memorySource({ id: 'm', blocks: numbered(6) })
  await createIndexer({
    name: 'orders',
    source,
    tables: { row },
    handle: setRow,
    store: memoryStore(),
    record: trace,
  }).run()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs it until its address is there. */
async function shown(...args: readonly string[]) {
  const main = join(import.meta.dirname, '../../src/cli/main.ts')
  const child = spawn(process.execPath, ['--import', 'tsx', main, 'inspect', ...args], {
    env: { ...process.env, NO_COLOR: '1', DATABASE_URL: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  child.stderr.resume()
  for await (const text of child.stdout.setEncoding('utf8')) {
    said += text as string
    if (said.includes('Ctrl-C')) break
  }
  const url = /http:\S+/.exec(said)?.[0] ?? ''
  return {
    said,
    url,
    async interrupt() {
      child.kill('SIGINT')
      return ((await once(child, 'exit')) as [number | null])[0]
    },
  }
}

test('serves a trace without a database, and ends with Ctrl-C', async () => {
  const { said, url, interrupt } = await shown(trace)
  expect(said).toMatch(
    /^ {2}orders {2}\d{4}-.* UTC · 1 run · \d+ messages · finished\n\n {2}http:\/\/127\.0\.0\.1:\d+\/ /,
  )
  expect((await ask(`${url}trace.jsonl`)).text).toBe(readFileSync(trace, 'utf8'))
  expect((await ask(url, { Host: 'evil.example' })).status).toBe(403)
  expect(await interrupt()).toBe(0)
})

test('says that a trace ends early', async () => {
  const cut = join(folder, 'cut.jsonl')
  writeFileSync(cut, readFileSync(trace).subarray(0, 3_000))
  const { said, interrupt } = await shown(cut, '--host', 'localhost')
  expect(said).toContain('the trace ends before the run did')
  expect(said).toContain('its last line was cut off, and is left out')
  expect(said).toContain('http://localhost:')
  expect(await interrupt()).toBe(0)
})

test('what cannot be shown is one sentence, and exit code 2', async () => {
  const other = join(folder, 'other.jsonl')
  writeFileSync(other, '{"n":1,"t":0,"kind":"hello","version":9}\n')
  for (const [args, message] of [
    [['package.json'], "tailrace: 'package.json' is no trace: "],
    [[join(folder, 'missing')], 'cannot be read: ENOENT'],
    [[other], 'is a trace of version 9, this tailrace reads version 1.'],
    [[trace, '--port', '99999'], 'Give a number from 0 to 65535.'],
    [[], "missing required argument 'trace'"],
  ] as const) {
    const { code, stdout, stderr } = await tailrace(['inspect', ...args])
    expect(code, stderr).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/^\s+at /m)
  }
})

test('a port that is taken: exit code 1', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const { code, stderr } = await tailrace(['inspect', trace, '--port', String(port)])
  server.close()
  expect(code).toBe(1)
  expect(stderr).toMatch(/^tailrace: The inspector cannot listen on 127\.0\.0\.1, port \d+: .*EADDRINUSE/)
})
