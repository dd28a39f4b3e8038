/** What Stately's inspector is told: standard events, plain and exact; and that it is nobody's burden. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { inspectableOf } from '../../src/inspect/inspectable.ts'
import { inspectWithStately } from '../../src/inspect/index.ts'
import { handlesBefore } from '../support/leaks.ts'
import { small } from './running.ts'

interface Told {
  readonly type: string
  readonly rootId: string
  readonly name: string
  readonly sessionId: string
  readonly parentId?: string
  readonly definition?: string
  readonly snapshot?: {
    readonly status: string
    readonly value?: unknown
    readonly context?: Record<string, unknown>
  }
  readonly event?: { readonly type: string; readonly [field: string]: unknown }
}

/** Of the same interface, and like it a turn late: says what it is told on a channel by the name of its URL. */
const module = `data:text/javascript,${encodeURIComponent(`
  export function createWebSocketInspector({ url }) {
    const channel = new BroadcastChannel(url)
    return {
      inspect: {
        next: ({ type, rootId, actorRef, event, snapshot }) => setImmediate(() => channel.postMessage({
          type, rootId, event, sessionId: actorRef.sessionId, name: actorRef.id,
          parentId: actorRef._parent?.sessionId, definition: actorRef.logic.config?.id,
          snapshot: type === '@xstate.actor' ? actorRef.getSnapshot() : snapshot,
        })),
      },
      stop: () => channel.postMessage('stopped'),
    }
  }`)}`

function listen(url: string): { readonly told: Told[]; readonly stopped: Promise<void>; close(): void } {
  const channel = new BroadcastChannel(url)
  const told: Told[] = []
  const stopped = new Promise<void>((resolve) => {
    channel.addEventListener('message', (message) => {
      const { data } = message as unknown as { readonly data: Told | 'stopped' }
      if (data === 'stopped') resolve()
      else told.push(data)
    })
  })
  return { told, stopped, close: () => channel.close() }
}

test('standard events of every actor, with definitions and exact values; nothing of it is left', async () => {
  const handles = handlesBefore()
  const { told, close } = listen('whole')
  const { indexer } = small()
  const stately = await inspectWithStately(indexer, { url: 'whole', module })
  expect((await indexer.run()).status).toBe('finished')
  await Promise.all([stately.close(), stately.close()])
  expect(inspectableOf(indexer).runs.watchers).toBe(0)
  expect(new Set(told.map(({ type }) => type))).toEqual(
    new Set(['@xstate.actor', '@xstate.event', '@xstate.snapshot']),
  )
  const root = told[0]!
  expect(root).toMatchObject({ type: '@xstate.actor', definition: 'indexer', sessionId: root.rootId })
  const commits = told.filter(({ type, name }) => type === '@xstate.actor' && name === 'committer')
  expect(commits).toHaveLength(3)
  for (const commit of commits) {
    expect(commit).toMatchObject({ definition: 'committer', parentId: root.sessionId, rootId: root.rootId })
  }
  const last = told.findLast(
    ({ type, sessionId }) => type === '@xstate.snapshot' && sessionId === root.sessionId,
  )
  expect(last?.snapshot).toMatchObject({ status: 'done', value: 'finished', context: { processed: 6 } })
  close()
  expect(await handles.left()).toEqual({})
})

test('who is called in the middle of a run tells what there is; bigints are their digits, what is redacted is not told', async () => {
  const { told, stopped, close } = listen('late')
  const { indexer, gates } = small({
    handle: (item) => {
      if (item > 2)
        throw Object.assign(new Error('boom'), { amount: 12345678901234567890n, password: 'x', mine: 1 })
    },
  })
  gates.write.hold()
  const running = indexer.run()
  await gates.write.arrived()
  const redact = (key: string, value: unknown) => (key === 'mine' ? 'kept back' : value)
  const stately = await inspectWithStately(indexer, { url: 'late', module, redact })
  gates.write.release()
  expect((await running).status).toBe('failed')
  await stately.close()
  await stopped
  expect(told.slice(0, 2).map(({ type, name }) => ({ type, name }))).toEqual([
    { type: '@xstate.actor', name: told[0]!.name },
    { type: '@xstate.snapshot', name: told[0]!.name },
  ])
  const text = JSON.stringify(told)
  expect(text).toContain('"amount":"12345678901234567890"')
  expect(text).toContain('"mine":"kept back"')
  expect(text).toContain('"password":"…redacted"')
  close()
})

test('it is not installed: said with what to install, and the run is free', async () => {
  const { indexer } = small()
  const missing = { module: '@statelyai/inspect-that-is-not-there' }
  await expect(inspectWithStately(indexer, missing)).rejects.toMatchObject({
    name: 'ConfigurationError',
    code: 'STATELY_MISSING',
    message: expect.stringContaining('npm install --save-dev @statelyai/inspect') as string,
  })
  const broken = { module: `data:text/javascript,throw new Error('no')` }
  await expect(inspectWithStately(indexer, broken)).rejects.toMatchObject({ code: 'STATELY_FAILED' })
  expect((await indexer.run()).status).toBe('finished')
})

test('one that never answers, or breaks off in the middle, keeps neither the run nor the process', async () => {
  // like the real one without a relay: a timer that is set again and again, and then an error nobody catches
  const deaf = `data:text/javascript,${encodeURIComponent(`
    export function createWebSocketInspector() {
      setInterval(() => undefined, 1000)
      let told = 0
      return { inspect: { next() { if (++told === 10) throw new Error('broken') } }, stop() {} }
    }`)}`
  const { indexer } = small()
  const stately = await inspectWithStately(indexer, { module: deaf })
  expect((await indexer.run()).status).toBe('finished')
  await stately.close()
  const child = fork(
    join(import.meta.dirname, 'inspected-process.ts'),
    ['stately', deaf.replace('=== 10', '< 0')],
    {
      execArgv: ['--import', 'tsx'],
    },
  )
  expect(await once(child, 'exit')).toEqual([0, null])
})
