/** `tailrace`: public names only. */
export { createIndexer } from './indexer.ts'
export type { Indexer } from './indexer.ts'
export type { AnySource, Handlers, IndexerOptions, ItemOf, SourceInput } from './options.ts'
export { exitCode } from './outcome.ts'
export type { Outcome } from './outcome.ts'
export type { IndexerStatus } from './status.ts'
export type { Stalls } from './observe/stalls.ts'
export type { IndexerEventName, IndexerEvents, Listener } from './observe/events.ts'
export type { Logger } from './log.ts'
export { keyed } from './staging/keyed.ts'
export type { KeyedTable } from './staging/keyed.ts'
export type {
  Db,
  Direction,
  FindOptions,
  InsertOf,
  KeyOf,
  Operators,
  RowOf,
  TableAccess,
  TableInput,
  TablesInput,
  Where,
} from './db.ts'
export type { Context } from './compute/context.ts'
export type { Block, OpenSource, Position, Source, SourceMessage } from './source/port.ts'
export { memorySource } from './source/memory.ts'
export type { MemorySourceOptions } from './source/memory.ts'
export type { Store } from './commit/store.ts'
export { publishRegions } from './publish/publish-regions.ts'
export type {
  Published,
  PublishRegionsOptions,
  PublishSummary,
  RegionPublication,
  RegionResult,
} from './publish/publish-regions.ts'
export { readRegion, readRegions, regionHistory, watchRegions } from './publish/reading.ts'
export type { PlannedKey, RegionChange, RegionPublisher, RegionSnapshot } from './publish/port.ts'
export type { RegionHealth, RegionSettled, RegionStatus } from './regions.ts'
export type { Stamp } from './stamp.ts'
export type { Limits } from '../machines/limits.ts'
export {
  ConfigurationError,
  FatalError,
  HandlerError,
  RetryableError,
  SupersededError,
  TailraceError,
} from './errors.ts'
export type { ErrorFacts, Phase } from './errors.ts'
