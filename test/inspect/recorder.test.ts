/** What a recorder makes of a run: every step of every chart, the events, the outcome; and nothing when it is detached. */
import { expect, test } from 'vitest'
import { createMachine, type AnyActorRef, type InspectionEvent } from 'xstate'
import { isOfChart, pathOf } from '../../src/inspect/actors.ts'
import { inspectableOf } from '../../src/inspect/inspectable.ts'
import { Recorder } from '../../src/inspect/recorder.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { watch } from '../support/indexers.ts'
import { ofKind } from './looking.ts'
import { recordingOf, small } from './running.ts'

test('a run from its beginning: numbers without a gap, times that grow, states that are the charts own', async () => {
  const told: { actor: string; value: unknown; status: string }[] = []
  const inspect = (event: InspectionEvent) => {
    if (event.type !== '@xstate.snapshot' || !isOfChart(event.snapshot)) return
    const { value, status } = event.snapshot
    told.push({ actor: pathOf(event.actorRef as AnyActorRef), value, status })
  }
  const { indexer } = small({
    inspect,
    regions: memoryRegions(),
    handleBlock: (_block, { region }) => region('a/b').publish({}),
  })
  const { messages, recorder } = recordingOf(indexer)
  await indexer.run()
  recorder.detach()
  expect(messages.map(({ n }) => n)).toEqual(messages.map((_, index) => index + 1))
  expect(messages.map(({ t }) => t)).toEqual(messages.map(({ t }) => t).toSorted((a, b) => a - b))
  expect(messages[0]).toMatchObject({ kind: 'hello', version: 1, pipeline: 'seen', run: 0, isLate: false })
  expect(messages[1]).toMatchObject({ kind: 'hello', run: 1, isLate: false, limits: { batchItems: 2 } })
  expect(messages.at(-1)).toMatchObject({ kind: 'outcome', outcome: { status: 'finished', committed: '6' } })
  // by actor: XState tells an actor's last snapshot after its parent has heard of it
  const states = ofKind(messages, 'state')
  const actors = [...new Set(told.map(({ actor }) => actor))]
  expect(actors).toEqual(
    expect.arrayContaining([
      'indexer',
      'indexer/committer',
      'indexer/publisher',
      'indexer/publisher/region:a/b',
    ]),
  )
  for (const actor of actors) {
    const of = (list: readonly { actor: string; value: unknown; status: string }[]) =>
      list.filter((one) => one.actor === actor).map(({ value, status }) => ({ value, status }))
    expect(of(states), actor).toEqual(of(told))
  }
})

test('what a state says: transitions with guards, facts without limits, no worker among the actors', async () => {
  const { indexer } = small()
  const { messages } = recordingOf(indexer)
  await indexer.run()
  const states = ofKind(messages, 'state')
  expect(new Set(states.map(({ chart }) => chart))).toEqual(new Set(['indexer', 'committer']))
  const landed = states.find(({ event }) => event === 'write.landed')
  expect(landed).toMatchObject({
    actor: 'indexer/committer',
    value: 'committed',
    status: 'done',
    transitions: [
      {
        source: 'committer.writing',
        targets: ['committer.committed'],
        event: 'write.landed',
        guard: 'allLanded',
      },
    ],
    facts: { kind: 'commit', batches: 1, landed: 1 },
  })
  expect(states.at(-1)?.facts).toMatchObject({ processed: 6, committed: 6 })
  expect(states.every(({ facts }) => !('limits' in facts))).toBe(true)
  expect(ofKind(messages, 'event').map(({ name }) => name)).toEqual(
    expect.arrayContaining(['ownership', 'batch.processed', 'batch.committed']),
  )
  expect(ofKind(messages, 'meter').at(-1)).toMatchObject({
    processed: '6',
    committed: '6',
    items: 6,
    stagedBatches: 0,
  })
})

test('a commit has ended before the next one of its name begins', async () => {
  const { indexer } = small()
  const { messages } = recordingOf(indexer)
  await indexer.run()
  let isOpen = false
  let commits = 0
  for (const { actor, status, event } of ofKind(messages, 'state')) {
    if (actor !== 'indexer/committer') continue
    if (event === 'xstate.init') {
      expect(isOpen).toBe(false)
      isOpen = true
      commits++
    }
    if (status === 'done') isOpen = false
  }
  expect(commits).toBe(3)
})

test('who comes in the middle is told where every chart stands, then what follows', async () => {
  const { indexer, gates } = small()
  gates.written.hold()
  const running = indexer.run()
  await gates.written.arrived()
  const { messages } = recordingOf(indexer)
  expect(messages[0]).toMatchObject({ kind: 'hello', run: 1, isLate: true })
  const present = ofKind(messages, 'state')
  expect(present.map(({ actor }) => actor)).toEqual(['indexer', 'indexer/committer'])
  expect(present.every(({ event, transitions }) => event === undefined && transitions === undefined)).toBe(
    true,
  )
  expect(present[1]).toMatchObject({ value: 'writing', status: 'active', facts: { upTo: 2 } })
  gates.written.release()
  await running
  const ended = ofKind(messages, 'state').find(
    ({ actor, status }) => actor !== 'indexer' && status === 'done',
  )
  expect(ended).toMatchObject({ actor: 'indexer/committer', facts: { upTo: 2 } })
  expect(messages.at(-1)).toMatchObject({ kind: 'outcome' })
})

test('who comes after the end finds the last state and the outcome', async () => {
  const { indexer } = small()
  await indexer.run()
  const { messages } = recordingOf(indexer)
  expect(messages.map(({ kind }) => kind)).toEqual(['hello', 'state', 'outcome'])
  expect(messages[1]).toMatchObject({ value: 'finished', status: 'done' })
})

test('a second run of the same recording begins with a greeting of its own', async () => {
  const { indexer } = small()
  const { messages } = recordingOf(indexer)
  await indexer.run()
  await indexer.run()
  const hellos = ofKind(messages, 'hello')
  expect(hellos.map(({ run }) => run)).toEqual([0, 1, 2])
  expect(new Set(hellos.map(({ at }) => at)).size).toBe(1)
  expect(ofKind(messages, 'outcome')).toHaveLength(2)
})

test('a failure: error with code, block, item and cause, in the state and whole in the outcome', async () => {
  const { indexer } = small({
    handle: () => {
      throw Object.assign(new Error('<b>boom</b>'), { code: 'E1', secret: 'hidden', amount: 5n })
    },
  })
  const { messages } = recordingOf(indexer)
  await indexer.run()
  const { outcome } = ofKind(messages, 'outcome')[0]!
  expect(outcome).toMatchObject({
    status: 'failed',
    error: {
      code: 'HANDLER_FAILED',
      phase: 'compute',
      stack: expect.any(String) as string,
      cause: { message: '<b>boom</b>', code: 'E1', secret: '…redacted', amount: '5' },
    },
  })
  const failed = ofKind(messages, 'state').find(({ facts }) => facts['failed'] === true)
  expect(JSON.stringify(failed)).toContain('boom')
  expect(JSON.stringify(failed)).not.toContain('stack')
})

test('a fork and its rollback', async () => {
  const chain = simulatedChain({ id: 'chain', historyDepth: 10 })
  chain.append([1, 2, 3, 4].map((number) => ({ number, hash: `${number}a`, items: [number] })))
  const { indexer } = small({ source: chain.source as never })
  const { messages } = recordingOf(indexer)
  const running = indexer.run()
  await watch(indexer).until('batch.committed', ({ checkpoint }) => checkpoint === 4n)
  chain.fork({ above: 2, blocks: [{ number: 3, hash: '3b', items: [30] }] })
  chain.end()
  expect((await running).status).toBe('finished')
  expect(ofKind(messages, 'event').map(({ name }) => name)).toEqual(
    expect.arrayContaining(['fork', 'rollback.started', 'rollback.committed']),
  )
  const restorer = ofKind(messages, 'state').filter(({ actor }) => actor === 'indexer/restorer')
  expect(restorer.at(-1)).toMatchObject({ chart: 'committer', status: 'done', facts: { kind: 'rollback' } })
})

test('redact keeps things out of facts, events and outcome', async () => {
  const { indexer } = small({
    handle: () => {
      throw new Error('the secret word')
    },
  })
  const { messages } = recordingOf(indexer, (_key, value) =>
    typeof value === 'string' ? value.replaceAll('secret word', '***') : value,
  )
  await indexer.run()
  expect(JSON.stringify(messages)).toContain('***')
  expect(JSON.stringify(messages)).not.toContain('secret word')
})

test('I16: detached, nothing of it is left: no observer, no listener, no timer', async () => {
  const { indexer, gates } = small()
  gates.write.hold()
  const running = indexer.run()
  await gates.write.arrived()
  const { messages, recorder } = recordingOf(indexer)
  recorder.attach()
  expect(messages.filter(({ kind }) => kind === 'hello')).toHaveLength(1)
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  recorder.detach()
  recorder.detach()
  const seen = messages.length
  expect(inspectableOf(indexer).runs.watchers).toBe(0)
  gates.write.release()
  await running
  expect(messages).toHaveLength(seen)
  expect(timers()).toBeLessThanOrEqual(before)
})

test('what goes wrong in a recorder is logged once, and the run goes on', async () => {
  const complaints: string[] = []
  const nothing = () => undefined
  const logger = {
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: (message: string) => complaints.push(message),
  }
  const { indexer } = small({ logger })
  const recorder = new Recorder(inspectableOf(indexer), {
    tell: ({ n }) => {
      if (n > 1) throw new Error('the recorder is broken')
    },
  })
  recorder.attach()
  expect((await indexer.run()).status).toBe('finished')
  expect(complaints).toEqual(['the inspector could not record; the run goes on'])
})

test('only what createIndexer returned can be inspected', () => {
  expect(() => inspectableOf(createMachine({}) as never)).toThrow(/Only what createIndexer\(\) returned/)
  expect(() => inspectableOf({ ...small().indexer })).toThrow(/not a copy or a wrapper/)
  expect(() => inspectableOf(undefined as never)).toThrow(/Only what createIndexer\(\) returned/)
})
