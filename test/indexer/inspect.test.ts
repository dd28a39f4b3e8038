/** `createIndexer({ inspect })`: standard XState inspection events, as any tool takes them. */
import { expect, test } from 'vitest'
import type { AnyActorRef, InspectionEvent } from 'xstate'
import { createIndexer, memorySource } from '../../src/index.ts'
import { memoryStore } from '../../src/testing/index.ts'
import { numbered, row, setRow } from '../support/indexers.ts'

async function inspected(
  handle: typeof setRow = setRow,
): Promise<{ events: InspectionEvent[]; status: string }> {
  const events: InspectionEvent[] = []
  const indexer = createIndexer({
    name: 'seen',
    source: memorySource({ id: 'm', blocks: numbered(6) }),
    tables: { row },
    handle,
    store: memoryStore(),
    limits: { batchItems: 2 },
    inspect: { next: (event) => void events.push(event) },
  })
  return { status: (await indexer.run()).status, events }
}

test('every actor, event and snapshot is told, and every snapshot is small, plain JSON', async () => {
  const { events, status } = await inspected()
  expect(status).toBe('finished')
  expect(new Set(events.map(({ type }) => type))).toEqual(
    new Set(['@xstate.actor', '@xstate.event', '@xstate.snapshot', '@xstate.microstep', '@xstate.action']),
  )
  const actors = events.flatMap((event) =>
    event.type === '@xstate.actor' ? [(event.actorRef as AnyActorRef).id] : [],
  )
  expect(actors).toEqual(
    expect.arrayContaining(['opener', 'sources', 'computer', 'publisher', 'committer', 'wire']),
  )
  const commits = actors.filter((id) => id === 'committer').length
  expect(commits).toBeGreaterThan(0)
  let widest = 0
  for (const event of events) {
    if (event.type !== '@xstate.snapshot') continue
    const json = JSON.stringify(event.snapshot)
    expect(JSON.parse(json)).toMatchObject({ status: expect.any(String) as string })
    widest = Math.max(widest, json.length)
  }
  expect(widest).toBeLessThan(5_000)
  for (const event of events) if (event.type === '@xstate.event') JSON.stringify(event.event)
})

test('errors in snapshots keep their code and message', async () => {
  const { events, status } = await inspected(() => {
    throw new Error('boom')
  })
  expect(status).toBe('failed')
  const snapshots = events.flatMap((event) =>
    event.type === '@xstate.snapshot' ? [JSON.stringify(event.snapshot)] : [],
  )
  expect(snapshots.some((json) => json.includes('HANDLER_FAILED') && json.includes('boom'))).toBe(true)
})
