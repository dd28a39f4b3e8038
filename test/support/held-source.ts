/** A simulated chain that can also be made to throw, to announce a fork of nothing, and to be slow to close. */
import type { Source, SourceMessage } from '../../src/index.ts'
import { Gate, simulatedChain, type SimulatedChain } from '../../src/testing/index.ts'

export interface HeldSource<Item> {
  readonly chain: SimulatedChain<Item>
  readonly source: Source<Item>
  /** An iterator that was told to end passes here. */
  readonly closing: Gate
  say(message: SourceMessage<Item>): void
  fail(error: Error): void
}

export function heldSource<Item>(id: string, historyDepth: number): HeldSource<Item> {
  const chain = simulatedChain<Item>({ id, historyDepth })
  const closing = new Gate('closing')
  closing.hold()
  let interrupt: (by: { readonly message: SourceMessage<Item> } | { readonly error: Error }) => void

  async function* open(request: Parameters<Source<Item>['open']>[0]): AsyncGenerator<SourceMessage<Item>> {
    const messages = chain.source.open(request)[Symbol.asyncIterator]()
    const interrupted = new Promise<Parameters<typeof interrupt>[0]>((resolve) => {
      interrupt = resolve
    })
    try {
      let next = messages.next()
      for (;;) {
        const given = await Promise.race([next, interrupted])
        if ('error' in given) throw given.error
        if ('message' in given) {
          yield given.message
          return
        }
        if (given.done === true) return
        yield given.value
        next = messages.next()
      }
    } finally {
      if (request.signal.aborted) await closing.enter()
    }
  }

  return {
    chain,
    closing,
    source: { id, historyDepth, open },
    say: (message) => interrupt({ message }),
    fail: (error) => interrupt({ error }),
  }
}
