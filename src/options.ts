/** Every option, and its validation in one place. Bad input is refused before anything is started. */
import type { InspectionEvent, Observer } from 'xstate'
import { defaultLimits, type Limits } from '../machines/limits.ts'
import type { Context } from './compute/context.ts'
import type { Store } from './commit/store.ts'
import type { TablesInput } from './db.ts'
import { ConfigurationError } from './errors.ts'
import type { Logger } from './log.ts'
import type { RegionPublisher } from './publish/port.ts'
import type { Ordering } from './source/merge.ts'
import type { Block, Source } from './source/port.ts'
import type { TablesWithKeys } from './staging/keyed.ts'

// eslint-disable-next-line typescript/no-explicit-any -- any item type; it is inferred from the source
export type AnySource = Source<any>
export type SourceInput = AnySource | readonly AnySource[]

/** The items of a source, or of several. */
export type ItemOf<S extends SourceInput> =
  S extends Source<infer Item> ? Item : S extends readonly Source<infer Item>[] ? Item : never

/** One handler per item type. */
export type Handlers<Item, Tables extends TablesInput> = {
  readonly [T in Item extends { readonly type: infer Type extends string } ? Type : never]: (
    item: Extract<Item, { readonly type: T }>,
    context: Context<Tables>,
  ) => unknown
}

export interface IndexerOptions<S extends SourceInput, Tables extends TablesInput> {
  /** The pipeline: its row in `tailrace.pipelines`, its label in logs. Keep it, or the next run starts anew. */
  readonly name: string
  /** Where blocks come from; several share one sequence of checkpoints, in the order that `ordering` says. */
  readonly source: S
  /**
   * The order of several sources' blocks among each other; a source's own always come in its own order.
   *
   * - `'arrival'` (default): as they come, older ones first where all that are there tell their `timestamp`. No source
   *   waits for another. Another run of the same blocks may mix them differently: for handlers whose results do not
   *   depend on it, e.g. because no two sources share rows.
   * - `'timestamp'`: the oldest `timestamp` first, ties by source id (by code units); any run gives the same order and so
   *   the same tables, stopped and resumed, or after a fork. Needed when handlers of several sources share rows. A block
   *   is handed out once every other source has one read ahead or has ended: a source that stands at its head without
   *   new blocks holds the others up. Every block needs a timestamp, and a source's must not decrease
   *   (`SOURCE_TIMESTAMP`). When a block turns out to belong before some that were handed out (it stands for one that was
   *   read ahead and orphaned), the pipeline goes back to make room; what is final by then keeps its place.
   */
  readonly ordering?: Ordering | undefined
  /** drizzle tables, by the name under which handlers reach them; composite keys through `keyed()`. */
  readonly tables: Tables & TablesWithKeys<Tables>
  /** By `item.type`. Either this or `handle`. */
  readonly handlers?: Handlers<ItemOf<S>, Tables> | undefined
  /** Every item. Either this or `handlers`. */
  readonly handle?: ((item: ItemOf<S>, context: Context<Tables>) => unknown) | undefined
  /** After a block's items; or alone. There is no batch handler: batch bounds differ after a resume. */
  readonly handleBlock?: ((block: Block<ItemOf<S>>, context: Context<Tables>) => unknown) | undefined
  /**
   * By default handlers run twice when loads are missing: once speculatively and together (`preloading` true, writes
   * thrown away), then in order. `false` turns that off; a function replaces it and is called once per batch.
   */
  readonly preload?:
    false | ((blocks: readonly Block<ItemOf<S>>[], context: Context<Tables>) => unknown) | undefined
  readonly store: Store
  /**
   * Where `region(id).publish(body)` goes: `redisRegions({ url })`. Staged with the batch, delivered after its commit. A
   * region that cannot be delivered costs the run nothing: `status().regions`, the events and the outcome tell.
   */
  readonly regions?: RegionPublisher | undefined
  /** A region that is quarantined fails the run. Default: false. */
  readonly requireRegions?: boolean | undefined
  readonly limits?: Partial<Limits> | undefined
  readonly ownership?:
    | {
        /** Wait for ever for another owner to let go. Default: false. */
        readonly standby?: boolean | undefined
        /** How long to wait otherwise. Default: 5,000. */
        readonly timeoutMs?: number | undefined
        /**
         * An owner that was silent for so long counts as dead, and another process may take the pipeline over. It speaks
         * five times as often, from a thread of its own. By the database's clock. Default: 15,000.
         */
        readonly staleMs?: number | undefined
      }
    | undefined
  readonly logger?: Logger | undefined
  /**
   * A file to record every run in, for `tailrace inspect <file>`: it costs what a viewer costs. The first run overwrites
   * what is there, later runs of the same indexer go on behind it. What handlers read and write is not in it; what their
   * errors say is, unless `redact` keeps it out. A run that is killed leaves everything but its last moment.
   */
  readonly record?:
    | string
    | {
        readonly file: string
        /** Called with every property; shown is what it returns, and nothing for `undefined`. */
        readonly redact?: ((key: string, value: unknown) => unknown) | undefined
      }
    | undefined
  /** Standard XState inspection events, for any tool that takes them. Guarded: it may throw. */
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void) | undefined
}

const defaultOwnershipTimeoutMs = 5_000
const defaultStaleMs = 15_000
const leastStaleMs = 500
const longestName = 40

/** What the run works with: defaults applied, everything checked. */
export interface Settings {
  readonly sources: readonly AnySource[]
  readonly ordering: Ordering
  readonly limits: Limits
  readonly ownershipTimeoutMs: number
  readonly staleMs: number
  readonly record: Recording | undefined
}

type Recording = Exclude<IndexerOptions<SourceInput, TablesInput>['record'], string | undefined>

/** @throws ConfigurationError `INVALID_OPTIONS` that says what is wrong, where, and what to do */
export function validate(options: IndexerOptions<SourceInput, TablesInput>): Settings {
  if (typeof options !== 'object' || options === null)
    throw invalid('createIndexer takes an object of options')
  checkName(options.name)
  const sources = sourcesOf(options.source)
  if (
    typeof options.tables !== 'object' ||
    options.tables === null ||
    Object.keys(options.tables).length === 0
  ) {
    throw invalid(
      '`tables` is missing: give at least one drizzle table, e.g. tables: { account: schema.account }',
    )
  }
  if (typeof options.store?.open !== 'function') {
    throw invalid('`store` is missing: use postgres({ connectionString }) or embeddedPostgres()')
  }
  checkHandlers(options, sources)
  checkRegions(options)
  return {
    sources,
    ordering: orderingOf(options.ordering),
    limits: limitsOf(options.limits),
    ...ownershipOf(options.ownership),
    record: recordOf(options.record),
  }
}

function checkName(name: unknown): void {
  if (typeof name !== 'string' || name.trim() === '') {
    throw invalid('`name` is missing: it names the pipeline, and the next run resumes by it')
  }
  if (name.length > longestName || name.includes('\0')) {
    throw invalid(`\`name\` must have at most ${longestName} characters, and no NUL`)
  }
}

function sourcesOf(input: SourceInput): readonly AnySource[] {
  const sources: readonly AnySource[] = Array.isArray(input)
    ? (input as readonly AnySource[])
    : [input as AnySource]
  if (sources.length === 0) throw invalid('`source` is an empty array: give at least one source')
  const seen = new Set<string>()
  for (const source of sources) {
    if (typeof source?.open !== 'function' || typeof source.id !== 'string' || source.id === '') {
      throw invalid(
        '`source` must be a Source ({ id, open }), or an array of them; see memorySource and evmSource',
      )
    }
    if (seen.has(source.id)) {
      throw invalid(`two sources have the id '${source.id}'; ids must differ, their cursors are stored by it`)
    }
    seen.add(source.id)
    const { historyDepth } = source
    if (historyDepth !== undefined && (!Number.isSafeInteger(historyDepth) || historyDepth < 0)) {
      throw invalid(
        `source '${source.id}': historyDepth must be a whole number ≥ 0, got ${String(historyDepth)}`,
      )
    }
  }
  return sources
}

function checkRegions({ regions, requireRegions }: IndexerOptions<SourceInput, TablesInput>): void {
  if (regions !== undefined && typeof regions?.persist !== 'function') {
    throw invalid("`regions` must be a region publisher: use redisRegions({ url }) from 'tailrace/redis'")
  }
  if (requireRegions !== undefined && typeof requireRegions !== 'boolean') {
    throw invalid(`\`requireRegions\` must be true or false, got ${String(requireRegions)}`)
  }
  if (requireRegions === true && regions === undefined) {
    throw invalid('`requireRegions` needs `regions`')
  }
}

function recordOf(given: unknown): Recording | undefined {
  if (given === undefined) return undefined
  const { file, redact } = (typeof given === 'string' ? { file: given } : (given ?? {})) as Partial<Recording>
  if (typeof file !== 'string' || file === '' || file.includes('\0')) {
    throw invalid("`record` must be the name of a file, e.g. record: 'trace.jsonl', or { file, redact }")
  }
  if (redact !== undefined && typeof redact !== 'function')
    throw invalid('`record.redact` must be a function')
  return { file, redact }
}

function orderingOf(given: unknown = 'arrival'): Ordering {
  if (given === 'arrival' || given === 'timestamp') return given
  throw invalid(`\`ordering\` must be 'arrival' or 'timestamp', got '${String(given)}'`)
}

function checkHandlers(
  options: IndexerOptions<SourceInput, TablesInput>,
  sources: readonly AnySource[],
): void {
  const { handlers, handle, handleBlock, preload } = options
  if (handlers !== undefined && (typeof handlers !== 'object' || handlers === null)) {
    throw invalid('`handlers` must be an object of functions by item type')
  }
  if (handlers !== undefined && handle !== undefined) {
    throw invalid('give `handlers` (by item type) or one `handle`, not both')
  }
  if (handlers === undefined && handle === undefined && handleBlock === undefined) {
    throw invalid('there is no handler: give `handlers`, `handle` or `handleBlock`')
  }
  for (const [name, value] of Object.entries({ handle, handleBlock, ...(handlers as object | undefined) })) {
    if (value !== undefined && typeof value !== 'function')
      throw invalid(`handler '${name}' is not a function`)
  }
  if (preload !== undefined && preload !== false && typeof preload !== 'function') {
    throw invalid('`preload` must be false or a function')
  }
  if (handlers === undefined) return
  for (const source of sources) {
    const missing = (source.itemTypes ?? []).filter((type) => !Object.hasOwn(handlers, type))
    if (missing.length === 0) continue
    throw new ConfigurationError(
      'MISSING_HANDLER',
      `Source '${source.id}' emits ${missing.map((type) => `'${type}'`).join(', ')}, and there is no such handler. Add it to \`handlers\`, or have the source leave those items out.`,
      { phase: 'options' },
    )
  }
}

function limitsOf(given: Partial<Limits> = {}): Limits {
  if (typeof given !== 'object' || given === null) {
    throw invalid(`\`limits\` must be an object; there are ${Object.keys(defaultLimits).join(', ')}`)
  }
  const limits = { ...defaultLimits }
  for (const [name, value] of Object.entries(given) as [keyof Limits, number | undefined][]) {
    if (value === undefined) continue
    if (!Object.hasOwn(defaultLimits, name)) {
      throw invalid(`limits.${name} does not exist; there are ${Object.keys(defaultLimits).join(', ')}`)
    }
    const mayBeZero = name === 'groupLatencyMs' || name === 'failDeadlineMs'
    if (typeof value !== 'number' || Number.isNaN(value) || value < 0 || (value === 0 && !mayBeZero)) {
      throw invalid(
        `limits.${name} must be a number ${mayBeZero ? '≥ 0' : '> 0'}, got ${String(value)} (default: ${defaultLimits[name]})`,
      )
    }
    limits[name] = value
  }
  return limits
}

function ownershipOf(
  given: IndexerOptions<SourceInput, TablesInput>['ownership'] = {},
): Pick<Settings, 'ownershipTimeoutMs' | 'staleMs'> {
  const { standby = false, timeoutMs = defaultOwnershipTimeoutMs, staleMs = defaultStaleMs } = given
  if (typeof timeoutMs !== 'number' || Number.isNaN(timeoutMs) || timeoutMs < 0) {
    throw invalid(`ownership.timeoutMs must be a number ≥ 0, got ${String(timeoutMs)}`)
  }
  if (typeof staleMs !== 'number' || !(staleMs >= leastStaleMs)) {
    throw invalid(`ownership.staleMs must be a number ≥ ${leastStaleMs}, got ${String(staleMs)}`)
  }
  return { ownershipTimeoutMs: standby ? Infinity : timeoutMs, staleMs }
}

function invalid(message: string): ConfigurationError {
  return new ConfigurationError('INVALID_OPTIONS', `${message}.`, { phase: 'options' })
}
