/** `tailrace/machines`: the charts themselves, for visualisers, for model-based tests and for reading. */
export { indexerMachine } from './indexer.machine.ts'
export { committerMachine } from './committer.machine.ts'
export type { CommitterContext, CommitterInput } from './committer.machine.ts'
export type { IndexerFacts, IndexerInput } from './facts.ts'
export type * from './events.ts'
export type * from './outcome.ts'
export { defaultLimits } from './limits.ts'
export type { Limits } from './limits.ts'
