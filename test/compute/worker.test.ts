/** The compute lane's worker: one answer per command, whatever the batch does meanwhile. */
import { createActor, setup } from 'xstate'
import { expect, test } from 'vitest'
import type { ComputeCommand, ComputeEvent } from '../../machines/events.ts'
import { HandlerError } from '../../src/errors.ts'
import type { BatchRunner } from '../../src/compute/runner.ts'
import { computer } from '../../src/compute/worker.ts'
import type { Feed, PulledBatch } from '../../src/source/feed.ts'

const ref = { checkpoint: 1, source: 's', number: 1, hash: '1' }
const batch: PulledBatch = { blocks: [{ ref, block: { number: 1, items: [] } }], items: 0 }

/** A worker whose batches run as the test says. */
function bench(run: (signal: AbortSignal) => Promise<{ preloadMs: number; handleMs: number }>) {
  const said: ComputeEvent[] = []
  const watchers: { readonly type: string; resolve(): void }[] = []
  const logic = computer(() => ({
    feed: { pull: () => Promise.resolve(batch), cancelPull: () => undefined } as unknown as Feed,
    runner: {
      async run(_: unknown, signal: AbortSignal, preloaded: () => void) {
        preloaded()
        return run(signal)
      },
    } as unknown as BatchRunner,
    confirm: () => Promise.resolve(),
    stagedBytes: () => 7,
    processed: () => undefined,
  }))
  const hear = (event: ComputeEvent) => {
    said.push(event)
    for (const watcher of watchers) if (watcher.type === event.type) watcher.resolve()
  }
  const machine = setup({ actors: { logic } }).createMachine({
    invoke: { src: 'logic', id: 'worker' },
    on: { '*': { actions: ({ event }) => hear(event as unknown as ComputeEvent) } },
  })
  const actor = createActor(machine).start()
  return {
    said,
    words: () => said.map((event) => event.type),
    send: (command: ComputeCommand) => actor.getSnapshot().children['worker']!.send(command),
    until: (type: ComputeEvent['type']) =>
      said.some((event) => event.type === type)
        ? Promise.resolve()
        : new Promise<void>((resolve) => watchers.push({ type, resolve })),
    stop: () => actor.stop(),
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const times = { preloadMs: 0, handleMs: 0 }

test('pull, run: pulled, preloaded, handled', async () => {
  const { send, until, said, stop } = bench(() => Promise.resolve(times))
  send({ type: 'pull' })
  await until('batch.pulled')
  send({ type: 'run' })
  await until('batch.handled')
  expect(said).toEqual([
    { type: 'batch.pulled', from: 1, upTo: 1, items: 0 },
    { type: 'batch.preloaded' },
    { type: 'batch.handled', upTo: 1, stagedBytes: 7 },
  ])
  stop()
})

/** How a batch may end that was told to give up. */
const endings: Record<string, (signal: AbortSignal) => Error> = {
  'the reason itself': (signal) => signal.reason as Error,
  'the reason as a cause': (signal) => new HandlerError('HANDLER_FAILED', 'x', { cause: signal.reason }),
  'an abort error of a library': () =>
    new HandlerError('HANDLER_FAILED', 'x', {
      cause: Object.assign(new Error('The operation was aborted'), { name: 'AbortError' }),
    }),
}
test.each(Object.keys(endings))(
  'a cancelled batch that ends with %s is cancelled, not failed',
  async (ending) => {
    const { send, until, words, stop } = bench(
      (signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(endings[ending]!(signal)))),
    )
    send({ type: 'pull' })
    await until('batch.pulled')
    send({ type: 'run' })
    await until('batch.preloaded')
    send({ type: 'cancel' })
    await until('batch.cancelled')
    expect(words()).toEqual(['batch.pulled', 'batch.preloaded', 'batch.cancelled'])
    stop()
  },
)

test('a genuine error of a batch that is being cancelled is still heard, before the cancellation', async () => {
  const { send, until, words, stop } = bench(
    (signal) =>
      new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new HandlerError('HANDLER_FAILED', 'disk full'))),
      ),
  )
  send({ type: 'pull' })
  await until('batch.pulled')
  send({ type: 'run' })
  await until('batch.preloaded')
  send({ type: 'cancel' })
  await until('batch.cancelled')
  expect(words().slice(2)).toEqual(['batch.failed', 'batch.cancelled'])
  stop()
})

test('a deaf batch is waited for by cancel, and left behind unheard by cut', async () => {
  let end!: () => void
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const { send, until, words, stop } = bench(async () => {
    await ended
    return times
  })
  send({ type: 'pull' })
  await until('batch.pulled')
  send({ type: 'run' })
  await until('batch.preloaded')
  send({ type: 'cancel' })
  await turn()
  expect(words()).toEqual(['batch.pulled', 'batch.preloaded'])
  send({ type: 'cut' })
  expect(words()).toEqual(['batch.pulled', 'batch.preloaded', 'batch.cancelled'])
  end()
  await turn()
  expect(words()).toEqual(['batch.pulled', 'batch.preloaded', 'batch.cancelled'])
  stop()
})
