/** `createIndexer({ record })`: what is in the file is what a viewer would have been told, also of a run that was killed. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Message } from '../../src/inspect/index.ts'
import { showTrace } from '../../src/inspect/show-trace.ts'
import { summaryOf } from '../../src/inspect/trace-file.ts'
import { TraceWriter } from '../../src/inspect/trace-writer.ts'
import { silentLog, type Logger } from '../../src/log.ts'
import { deferred } from '../support/indexers.ts'
import { handlesBefore } from '../support/leaks.ts'
import { ask, look, ofKind } from './looking.ts'
import { recordingOf, small, type Options } from './running.ts'

let folder = ''
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'tailrace-traces-'))))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const read = (file: string): Message[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Message)

const serve = (file: string) => showTrace(file, { host: '127.0.0.1', port: 0, log: silentLog })

function complaints(): { readonly said: string[]; readonly logger: Logger } {
  const said: string[] = []
  return {
    said,
    logger: { ...silentLog, error: (message, facts) => said.push(`${message} ${JSON.stringify(facts)}`) },
  }
}

test('I16: when run() has resolved, the whole run is in the file, and the file is closed', async () => {
  const file = join(folder, 'whole.jsonl')
  writeFileSync(file, 'what was there before')
  const handles = handlesBefore()
  const { indexer } = small({ record: file })
  const { messages } = recordingOf(indexer)
  await indexer.run()
  const trace = read(file)
  expect(trace[0]).toMatchObject({ kind: 'hello', n: 1, run: 1, isLate: false })
  expect(trace.at(-1)).toMatchObject({ kind: 'outcome', outcome: { status: 'finished', committed: '6' } })
  const states = (list: readonly Message[]) =>
    ofKind(list, 'state').map(({ n: _n, t: _t, ...state }) => state)
  expect(states(trace)).toEqual(states(messages))
  expect(await handles.left()).toEqual({})
})

test('runs of one indexer follow each other in its file; another indexer begins anew', async () => {
  const file = join(folder, 'twice.jsonl')
  const { indexer } = small({ record: { file } })
  const running = indexer.run()
  await indexer.stop()
  // nothing of the first is still being written when stop() has resolved
  await indexer.run()
  await running
  const trace = read(file)
  expect(trace.map(({ n }) => n)).toEqual(trace.map((_, index) => index + 1))
  expect(ofKind(trace, 'hello').map(({ run, at }) => ({ run, at }))).toEqual([
    { run: 1, at: ofKind(trace, 'hello')[0]!.at },
    { run: 2, at: ofKind(trace, 'hello')[0]!.at },
  ])
  expect(await summaryOf(file)).toMatchObject({
    pipeline: 'seen',
    runs: 2,
    messages: trace.length,
    outcome: 'finished',
  })
  await small({ record: file }).indexer.run()
  expect(await summaryOf(file)).toMatchObject({ runs: 1 })
})

test('a file that cannot be written refuses the run, before anything is started', async () => {
  const opened: unknown[] = []
  const { indexer } = small({
    record: join(folder, 'no', 'such', 'folder.jsonl'),
    store: { open: (request: unknown) => opened.push(request) } as never,
  })
  await expect(indexer.run()).rejects.toMatchObject({
    name: 'ConfigurationError',
    code: 'TRACE_UNWRITABLE',
    message: expect.stringMatching(
      /folder\.jsonl' cannot be written: ENOENT.*Give `record` a file in a folder/,
    ) as string,
  })
  expect(opened).toEqual([])
  await expect(indexer.stop()).rejects.toMatchObject({ code: 'NOT_RUNNING' })
  // and the next run may well find the folder
  mkdirSync(join(folder, 'no', 'such'), { recursive: true })
  const again = small({ record: join(folder, 'no', 'such', 'folder.jsonl') })
  expect((await again.indexer.run()).status).toBe('finished')
})

test.each([[''], [1], [{}], [null], [{ file: 'a\0' }], [{ file: 'a', redact: 'x' }]])(
  'record: %o is refused',
  (record) => {
    expect(() => small({ record: record as never })).toThrow(/`record/)
  },
)

test('redact keeps things out of the file', async () => {
  const file = join(folder, 'redacted.jsonl')
  const options: Partial<Options> = {
    record: {
      file,
      redact: (key, value) => (key === 'message' ? 'kept back' : key === 'stack' ? undefined : value),
    },
    handle: () => {
      throw new Error('the secret word')
    },
  }
  await small(options).indexer.run()
  expect(readFileSync(file, 'utf8')).toContain('kept back')
  expect(readFileSync(file, 'utf8')).not.toContain('secret word')
})

// ── the disk ────────────────────────────────────────────────────────────────────────────────────────────────

const line = (n: number) => ({ n, t: n, kind: 'event' as const, json: JSON.stringify({ n, kind: 'event' }) })

test('a disk that is too slow: nobody waits, lines are dropped, counted and said in their place', async () => {
  const answer = deferred()
  const written: string[] = []
  const append = async (_file: number, text: string) => {
    await answer.promise
    written.push(text)
  }
  const writer = new TraceWriter(join(folder, 'slow.jsonl'), 'overwrite', {
    log: silentLog,
    pendingLength: 100,
    append,
  })
  for (let n = 1; n <= 50; n++) writer.add(line(n))
  const closed = writer.close()
  for (let n = 51; n <= 60; n++) writer.add(line(n))
  answer.resolve()
  await closed
  const trace = written
    .join('')
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text) as Message)
  const dropped = ofKind(trace, 'dropped')
  expect(dropped.every(({ why }) => why === 'slow')).toBe(true)
  expect(trace.length - dropped.length + dropped.reduce((sum, { count }) => sum + count, 0)).toBe(60)
  expect(trace.at(-1)?.n).toBe(60)
  expect(trace.map(({ n }) => n)).toEqual([...new Set(trace.map(({ n }) => n))].toSorted((a, b) => a - b))
})

test('a disk that fails: said once, the run goes on', async () => {
  const { said, logger } = complaints()
  const append = () => Promise.reject(new Error('ENOSPC: no space left on device'))
  const writer = new TraceWriter(join(folder, 'full.jsonl'), 'overwrite', { log: logger, append })
  writer.add(line(1))
  await writer.close()
  writer.add(line(2))
  await writer.close()
  expect(said).toHaveLength(1)
  expect(said[0]).toContain('it ends here, the run goes on')
  expect(said[0]).toContain('ENOSPC')
})

// ── traces that are shown ───────────────────────────────────────────────────────────────────────────────────

test('a trace is shown as it was recorded, from any message on, and can be saved again', async () => {
  const file = join(folder, 'shown.jsonl')
  await small({ record: file }).indexer.run()
  const trace = read(file)
  const { url, close } = await serve(file)
  try {
    const viewer = await look(url)
    await viewer.signalled('end')
    expect(viewer.messages).toEqual(trace)
    await viewer.leave()
    const { at } = ofKind(trace, 'hello')[0]!
    const again = await look(url, { 'Last-Event-ID': `${at}.5` })
    await again.signalled('end')
    expect(again.messages).toEqual(trace.slice(5))
    await again.leave()
    expect((await ask(`${url}trace.jsonl`)).text).toBe(readFileSync(file, 'utf8'))
    expect((await ask(`${url}events`, { Host: 'evil.example' })).status).toBe(403)
  } finally {
    await close()
  }
})

test('a viewer of a large trace that reads slowly, or leaves in the middle, holds nothing up', async () => {
  const file = join(folder, 'large.jsonl')
  await small({ record: file }).indexer.run()
  const last = read(file).at(-1)!.n
  const text = 'x'.repeat(10_000)
  for (let n = last + 1; n <= last + 2_000; n += 100) {
    const lines = Array.from({ length: 100 }, (_, index) =>
      JSON.stringify({ n: n + index, t: 1, kind: 'event', name: 'long', data: text }),
    )
    appendFileSync(file, `${lines.join('\n')}\n`)
  }
  const { url, close } = await serve(file)
  const slow = await look(url)
  await slow.until(({ kind }) => kind === 'hello')
  slow.pause()
  const gone = await look(url)
  await gone.until(({ kind }) => kind === 'hello')
  await gone.leave()
  const quick = await look(url)
  await quick.signalled('end')
  slow.resume()
  await slow.signalled('end')
  expect(slow.messages.map(({ n }) => n)).toEqual(quick.messages.map(({ n }) => n))
  await close()
  await Promise.all([slow.ended, quick.ended])
})

test('a run that is killed leaves a trace that opens up to its end', async () => {
  const file = join(folder, 'killed.jsonl')
  const child = fork(join(import.meta.dirname, 'inspected-process.ts'), ['record', file], {
    execArgv: ['--import', 'tsx'],
  })
  await once(child, 'message')
  child.kill('SIGKILL')
  await once(child, 'exit')
  const summary = await summaryOf(file)
  expect(summary).toMatchObject({ pipeline: 'child', runs: 1, outcome: undefined, damaged: 0 })
  expect(summary.messages).toBeGreaterThan(100)
  const { url, close } = await serve(file)
  const viewer = await look(url)
  await viewer.signalled('end')
  expect(viewer.messages).toHaveLength(summary.messages)
  expect(viewer.messages.map(({ n }) => n)).toEqual(viewer.messages.map((_, index) => index + 1))
  await close()
})

test('cut off anywhere it opens with every whole line before the cut', async () => {
  const file = join(folder, 'cut.jsonl')
  await small({ record: file }).indexer.run()
  const whole = readFileSync(file)
  const lines = whole.toString().trimEnd().split('\n')
  for (const bytes of [
    whole.length,
    whole.length - 1,
    whole.length - 2,
    whole.length >> 1,
    lines[0]!.length + 3,
  ]) {
    writeFileSync(file, whole)
    truncateSync(file, bytes)
    const kept = whole.subarray(0, bytes).toString()
    const count = kept.split('\n').length - 1 + (bytes === whole.length - 1 ? 1 : 0)
    const isTruncated = bytes < whole.length - 1
    expect(await summaryOf(file), String(bytes)).toMatchObject({ messages: count, isTruncated, damaged: 0 })
  }
})

test('lines that are damaged are passed over and counted', async () => {
  const file = join(folder, 'damaged.jsonl')
  await small({ record: file }).indexer.run()
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  lines[2] = '\0\0\0\0'
  lines[4] = 'null'
  lines[5] = '{"n":"x"}'
  writeFileSync(file, `${lines.join('\n')}\n`)
  expect(await summaryOf(file)).toMatchObject({ messages: lines.length - 3, damaged: 3, isTruncated: false })
  const { url, close } = await serve(file)
  const viewer = await look(url)
  await viewer.signalled('end')
  expect(viewer.messages).toHaveLength(lines.length - 3)
  await close()
})

test.each([
  ['empty.jsonl', '', /is empty: nothing has been recorded in it/],
  ['no-trace.jsonl', '{"name":"tailrace"}\n', /is no trace: its first line is not a greeting of tailrace/],
  ['binary.jsonl', '\0\x01\x02', /is no trace/],
  [
    'newer.jsonl',
    '{"n":1,"t":0,"kind":"hello","version":7}\n',
    /is a trace of version 7, this tailrace reads version 1/,
  ],
  ['headless.jsonl', '{"n":2,"t":0,"kind":"meter"}\n', /is no trace/],
])('%s is refused', async (name, content, message) => {
  const file = join(folder, name)
  writeFileSync(file, content)
  await expect(summaryOf(file)).rejects.toThrow(message)
  await expect(summaryOf(file)).rejects.toMatchObject({ name: 'TraceRefused' })
})

test('a file that is not there, or is a folder, is refused', async () => {
  await expect(summaryOf(join(folder, 'missing.jsonl'))).rejects.toThrow(/cannot be read: ENOENT/)
  await expect(summaryOf(folder)).rejects.toThrow(/cannot be read: EISDIR/)
})

test('an indexer that never runs makes no file', () => {
  const file = join(folder, 'never.jsonl')
  small({ record: file })
  expect(existsSync(file)).toBe(false)
})
