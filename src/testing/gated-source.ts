/** A source with gates in front of its openings and of every message. */
import type { Source, SourceMessage } from '../source/port.ts'
import { Gate } from './gate.ts'

export interface SourceGates {
  readonly open: Gate
  /** Before each message. Failing it: the source throws. */
  readonly message: Gate
}

export function gatedSource<Item>(source: Source<Item>): {
  readonly source: Source<Item>
  readonly gates: SourceGates
} {
  const gates: SourceGates = { open: new Gate('source.open'), message: new Gate('source.message') }
  return {
    gates,
    source: {
      ...source,
      async *open(request): AsyncGenerator<SourceMessage<Item>> {
        await gates.open.enter(request.signal)
        for await (const message of source.open(request)) {
          await gates.message.enter(request.signal)
          yield message
        }
      },
    },
  }
}
