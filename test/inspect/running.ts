/** Small indexers for the inspector to look at. */
import {
  createIndexer,
  memorySource,
  type Indexer,
  type IndexerOptions,
  type Source,
} from '../../src/index.ts'
import { inspectableOf } from '../../src/inspect/inspectable.ts'
import type { Message } from '../../src/inspect/index.ts'
import { Recorder } from '../../src/inspect/recorder.ts'
import type { Redact } from '../../src/inspect/redact.ts'
import { gatedStore, memoryStore, type StoreGates } from '../../src/testing/index.ts'
import { numbered, row, setRow } from '../support/indexers.ts'

export type Options = IndexerOptions<Source<number>, { row: typeof row }>

/** Six items in three batches, on a store in memory with gates. */
export function small(more: Partial<Options> = {}): {
  readonly indexer: Indexer
  readonly gates: StoreGates
} {
  const { store, gates } = gatedStore(memoryStore())
  const indexer = createIndexer({
    name: 'seen',
    source: memorySource({ id: 'm', blocks: numbered(6) }),
    tables: { row },
    handle: setRow,
    store,
    limits: { batchItems: 2, groupLatencyMs: 0 },
    ...more,
  })
  return { indexer, gates }
}

/** Everything that a recorder makes of it, from now on. */
export function recordingOf(
  indexer: Indexer,
  redact?: Redact,
): { readonly messages: Message[]; readonly recorder: Recorder } {
  const messages: Message[] = []
  const recorder = new Recorder(inspectableOf(indexer), {
    redact,
    tell: ({ json }) => messages.push(JSON.parse(json) as Message),
  })
  recorder.attach()
  return { messages, recorder }
}
