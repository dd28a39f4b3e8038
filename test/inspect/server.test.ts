/** The server: whom it answers, what it sends to whom, and that a run does not notice it. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { inspect, type Message } from '../../src/inspect/index.ts'
import { LiveFeed } from '../../src/inspect/live-feed.ts'
import { policyOf } from '../../src/inspect/page.ts'
import { InspectorServer, type ServerOptions } from '../../src/inspect/server.ts'
import { silentLog } from '../../src/log.ts'
import { handlesBefore } from '../support/leaks.ts'
import { ask, attachmentsOf, isOutcome, look, ofKind, type Look } from './looking.ts'
import { small } from './running.ts'
import { stub, type Stub } from './stub.ts'

const numbers = (messages: readonly Message[]) => messages.map(({ n }) => n)

// ── who is answered ─────────────────────────────────────────────────────────────────────────────────────────

test('it answers to its own names only, to its own origin only, and only GET', async () => {
  await using inspector = await inspect(small().indexer)
  const { host, port, href } = new URL(inspector.url)
  expect(href).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/)
  const trace = `${href}trace.jsonl`
  for (const name of [
    host,
    `localhost:${port}`,
    `LOCALHOST:${port}`,
    '[::1]:80',
    '127.0.0.1',
    'localhost:9999',
  ]) {
    expect((await ask(trace, { Host: name })).status, name).toBe(200)
  }
  for (const name of [
    'evil.example',
    `evil.example:${port}`,
    `127.0.0.1.evil.example:${port}`,
    `evil@127.0.0.1:${port}`,
    '127.0.0.1:80:80',
    '0.0.0.0',
    '[::]',
    'localhost.',
    ' ',
  ]) {
    for (const path of ['', 'events', 'trace.jsonl']) {
      const { status, text, headers } = await ask(href + path, { Host: name })
      expect(status, name).toBe(403)
      expect(text).toContain('no other host name')
      expect(headers['access-control-allow-origin']).toBeUndefined()
    }
  }
  const own = `http://${host}`
  expect((await ask(trace, { Origin: own })).status).toBe(200)
  for (const origin of [
    'http://evil.example',
    'null',
    `https://${host}`,
    `http://localhost:${port}`,
    `${own}.evil.example`,
  ]) {
    expect((await ask(trace, { Origin: origin })).status, origin).toBe(403)
  }
  for (const site of ['cross-site', 'same-site']) {
    expect((await ask(trace, { 'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': 'no-cors' })).status).toBe(403)
    const frame = { 'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe' }
    expect((await ask(href, frame)).status).toBe(403)
    const link = { ...frame, 'Sec-Fetch-Dest': 'document' }
    expect((await ask(href, link)).status).not.toBe(403)
  }
  expect((await ask(trace, { 'Sec-Fetch-Site': 'same-origin' })).status).toBe(200)
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD']) {
    const { status, headers } = await ask(href, {}, method)
    expect(status, method).toBe(405)
    expect(headers.allow).toBe('GET')
    expect(headers['access-control-allow-methods']).toBeUndefined()
  }
  for (const path of ['nothing', '../etc/passwd', 'events/', '//events']) {
    expect((await ask(href + path)).status, path).toBe(404)
  }
})

test('what is no HTTP, or half of it, is not its concern', async () => {
  await using inspector = await inspect(small().indexer)
  const { port } = new URL(inspector.url)
  for (const nonsense of [
    '\0\0\0',
    'GET / HTTP/1.1\r\n\r\n',
    'GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n',
    'GET',
  ]) {
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    socket.end(nonsense)
    socket.resume()
    await once(socket, 'close')
  }
  expect((await ask(`${inspector.url}trace.jsonl`)).status).toBe(200)
})

test('every answer forbids everything that it does not need', async () => {
  await using inspector = await inspect(small().indexer)
  for (const path of ['', 'trace.jsonl', 'nothing']) {
    const { headers } = await ask(inspector.url + path)
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
    })
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'.*frame-ancestors 'none'$/)
    expect(headers['access-control-allow-origin']).toBeUndefined()
  }
})

test("the page's own scripts and styles may run, by their hashes; what a script holds is no style", () => {
  const policy = policyOf(
    '<style>a{}</style><script type="module">const x = "<style>b{}"</script><style media=print>c{}</style>',
  )
  const hash = "'sha256-[A-Za-z0-9+/]{43}='"
  expect(policy).toMatch(new RegExp(`script-src ${hash};`))
  expect(policy).toMatch(new RegExp(`style-src ${hash} ${hash};`))
  expect(policy).toContain("connect-src 'self'")
  expect(policy).not.toContain('unsafe')
  expect(policyOf('<p>')).toContain("script-src 'none'; style-src 'none'")
})

test.each([
  [{ port: -1 }, 'port'],
  [{ port: 70_000 }, 'port'],
  [{ host: '' }, 'host'],
  [{ maxViewers: 0 }, 'maxViewers'],
  [{ maxBytes: Number.NaN }, 'maxBytes'],
  [{ redact: 'x' }, 'redact'],
  [{ control: true }, 'control'],
])('bad options: %o', async (options, name) => {
  await expect(inspect(small().indexer, options as never)).rejects.toThrow(
    new RegExp(`inspect\\(indexer, \\{ ${name} \\}\\) must be`),
  )
})

test('a port that is taken is said', async () => {
  await using inspector = await inspect(small().indexer)
  const port = Number(new URL(inspector.url).port)
  await expect(inspect(small().indexer, { port })).rejects.toMatchObject({
    code: 'INSPECTOR_ADDRESS',
    message: expect.stringContaining(`port ${port}`) as string,
  })
})

// ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────

test('nothing is attached before the first viewer and after the last, and the run sees none of it', async () => {
  const { indexer, gates } = small()
  const attached = attachmentsOf(indexer)
  await using inspector = await inspect(indexer)
  gates.write.hold()
  const running = indexer.run()
  await gates.write.arrived()
  await ask(inspector.url)
  expect(attached.most).toBe(0)
  const first = await look(inspector.url)
  await first.until(({ kind }) => kind === 'state')
  const second = await look(inspector.url)
  await second.until(({ kind }) => kind === 'state')
  expect(attached.now).toBe(1)
  expect(first.messages[0]).toMatchObject({ kind: 'hello', n: 1, isLate: true })
  // the recording goes on: the second is given all of it
  expect(second.messages[0]).toEqual(first.messages[0])
  await first.leave()
  gates.write.release()
  await second.until(isOutcome)
  expect(await running).toMatchObject({ status: 'finished', committed: 6n })
  expect(attached.now).toBe(1)
  await second.leave()
  await attached.left
  expect(attached).toMatchObject({ now: 0, most: 1 })
})

test('who reconnects gets what it has missed, once; who was in another recording gets all of this one', async () => {
  const { indexer, gates } = small()
  await using inspector = await inspect(indexer)
  const other = await look(inspector.url)
  const first = await look(inspector.url)
  gates.write.hold()
  const running = indexer.run()
  await first.until(({ kind }) => kind === 'event')
  await first.leave()
  gates.write.release()
  await running
  await other.until(isOutcome)
  const again = await look(inspector.url, { 'Last-Event-ID': first.lastId })
  await again.until(isOutcome)
  expect(numbers([...first.messages, ...again.messages])).toEqual(numbers(other.messages))
  for (const id of ['1.1', `${first.lastId}x`, 'nonsense', '9'.repeat(30)]) {
    const stranger = await look(inspector.url, { 'Last-Event-ID': id })
    await stranger.until(isOutcome)
    expect(numbers(stranger.messages), id).toEqual(numbers(other.messages))
    await stranger.leave()
  }
  await Promise.all([other.leave(), again.leave()])
  // the last has gone: that recording is over
  const late = await look(inspector.url, { 'Last-Event-ID': first.lastId })
  await late.until(isOutcome)
  expect(late.messages.map(({ kind }) => kind)).toEqual(['hello', 'state', 'outcome'])
  await late.leave()
})

test('the recording can be saved: with a viewer all of it, without one how things stand', async () => {
  const { indexer } = small({ name: 'a "strange"/name' })
  const attached = attachmentsOf(indexer)
  await using inspector = await inspect(indexer)
  const saved = async () => {
    const { text, headers } = await ask(`${inspector.url}trace.jsonl`)
    expect(headers['content-disposition']).toBe('attachment; filename="a-strange-name.trace.jsonl"')
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Message)
  }
  expect((await saved()).map(({ kind }) => kind)).toEqual(['hello'])
  expect(attached.now).toBe(0)
  const viewer = await look(inspector.url)
  await indexer.run()
  await viewer.until(isOutcome)
  expect(await saved()).toEqual(viewer.messages)
  await viewer.leave()
})

test('no more viewers than may be; one that leaves makes room', async () => {
  const { indexer } = small()
  await using inspector = await inspect(indexer, { maxViewers: 2 })
  const [first, second] = [await look(inspector.url), await look(inspector.url)]
  const refused = await ask(`${inspector.url}events`)
  expect(refused).toMatchObject({ status: 503, text: expect.stringContaining('2 viewers already') as string })
  await first.leave()
  // its connection's end is heard behind it
  for (;;) {
    const third = await look(inspector.url)
    await third.leave()
    if (third.status === 200) break
  }
  await second.leave()
})

test('I16: closed twice is closed once: viewers are sent away, nothing is left', async () => {
  const handles = handlesBefore()
  const { indexer } = small()
  const attached = attachmentsOf(indexer)
  const inspector = await inspect(indexer)
  const viewer = await look(inspector.url)
  await viewer.until(({ kind }) => kind === 'hello')
  await Promise.all([inspector.close(), inspector.close(), viewer.ended])
  expect(attached.now).toBe(0)
  await expect(ask(inspector.url)).rejects.toThrow('ECONNREFUSED')
  expect(await handles.left()).toEqual({})
  expect((await indexer.run()).status).toBe('finished')
})

// ── viewers that misbehave ──────────────────────────────────────────────────────────────────────────────────

const bounds = { messages: 1_000, bytes: 1_000_000 }
const options: ServerOptions = {
  host: '127.0.0.1',
  port: 0,
  maxViewers: 4,
  log: silentLog,
  keepsAlive: false,
  slowMs: 60_000,
  checkMs: 60_000,
}

/** More than the sockets between the two hold. */
function flood({ say }: Stub): void {
  for (let message = 0; message < 700; message++) say()
}

test('a slow viewer costs nobody but itself: the others get everything, it is told what it has missed', async () => {
  const source = stub()
  const server = await InspectorServer.listen(new LiveFeed(source.subject, bounds, undefined), options)
  const slow = await look(server.url)
  await slow.until(({ kind }) => kind === 'hello')
  slow.pause()
  const before = process.memoryUsage().heapUsed
  flood(source)
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64_000_000)
  const fresh = await look(server.url)
  const isLast = (viewer: Look) => viewer.until(({ kind, n }) => kind === 'outcome' && n > 700)
  await isLast(fresh)
  slow.resume()
  await isLast(slow)
  expect(ofKind(slow.messages, 'dropped')).toEqual([expect.objectContaining({ why: 'slow' })])
  expect(ofKind(fresh.messages, 'dropped')).toEqual([expect.objectContaining({ why: 'bound' })])
  for (const { messages } of [slow, fresh]) {
    const { length: kept } = messages.filter(({ kind }) => kind !== 'dropped')
    const missing = ofKind(messages, 'dropped').reduce((sum, { count }) => sum + count, 0)
    expect(kept + missing).toBe(messages.at(-1)!.n)
    expect(numbers(messages)).toEqual([...new Set(numbers(messages))].toSorted((a, b) => a - b))
  }
  await server.close()
})

test('one that takes nothing at all is dropped after a while, and nothing is attached any more', async () => {
  const source = stub()
  // all of it is kept, so that there is more to send than it takes
  const feed = new LiveFeed(source.subject, { messages: 10_000, bytes: 100_000_000 }, undefined)
  const server = await InspectorServer.listen(feed, { ...options, slowMs: 1, checkMs: 5 })
  const slow = await look(server.url)
  await slow.until(({ kind }) => kind === 'hello')
  slow.pause()
  flood(source)
  expect(source.subject.runs.watchers).toBe(1)
  // it only sees that it is over when it reads on
  while (server.viewers > 0) await ask(server.url)
  expect(source.subject.runs.watchers).toBe(0)
  slow.resume()
  await slow.ended
  await server.close()
})

test('a process with an open server and a viewer ends with its run, and the viewer has the outcome', async () => {
  const child = fork(join(import.meta.dirname, 'inspected-process.ts'), ['serve'], {
    execArgv: ['--import', 'tsx'],
  })
  const exited = once(child, 'exit')
  const [url] = (await once(child, 'message')) as [string]
  const viewer = await look(url)
  await viewer.until(({ kind }) => kind === 'state')
  child.send('end')
  const outcome = await viewer.until(isOutcome)
  expect(outcome).toMatchObject({ outcome: { status: 'stopped' } })
  expect(await exited).toEqual([0, null])
  await viewer.ended
})
