/**
 * Publishing without an indexer: a script that loops over regions today calls this once. The same charts, one actor a
 * region, all at once; the result of each is told, and none costs another anything.
 */
import { createActor, fromCallback } from 'xstate'
import type { OutboxEvent, PublisherEvent } from '../../machines/events.ts'
import { maxRegions } from '../../machines/limits.ts'
import { publisherMachine } from '../../machines/publisher.machine.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import { ConfigurationError, RetryableError, type TailraceError } from '../errors.ts'
import type { RegionSettled } from '../regions.ts'
import { delivery, limitsOf } from './delivery.ts'
import { plannedRegions, type Print } from './dry-run.ts'
import { contentHash, serialise } from './envelope.ts'
import { checkRegion } from './keys.ts'
import type { Outgoing, PlannedKey, RegionPublisher } from './port.ts'

export interface RegionPublication {
  readonly region: string
  /** Known by it: published twice, it arrives once. */
  readonly id: string
  /** JSON; bigints become decimal strings, dates ISO texts, bytes hex. */
  readonly body: unknown
}

export interface RegionResult {
  /**
   * `stale`: a later run has published the region in the meantime; the publisher's next call goes before it again.
   * `planned`: a dry run.
   */
  readonly status: RegionSettled['status'] | 'planned'
  /** Until it was settled, from the call on. */
  readonly ms: number
  /** As stored, after compression. */
  readonly bytes: number
  readonly attempts: number
  /** Set for `failed` and `stale`; its message says what to do. */
  readonly error?: TailraceError | undefined
  /** Of a dry run: what would be written. */
  readonly keys?: readonly PlannedKey[] | undefined
}

export interface PublishSummary {
  readonly regions: number
  readonly persisted: number
  readonly duplicate: number
  readonly replayed: number
  readonly stale: number
  readonly failed: number
  /** Of a dry run. */
  readonly planned: number
  readonly bytes: number
  readonly ms: number
  /**
   * For scripts: 0 readers see all of it; 1 some regions failed or were stale; 2 all failed because of the configuration
   * (address, password, permission, a body that is no JSON); 75 (EX_TEMPFAIL) all failed for a reason that may pass.
   */
  readonly exitCode: 0 | 1 | 2 | 75
}

export interface Published {
  readonly results: Readonly<Record<string, RegionResult>>
  readonly summary: PublishSummary
}

export interface PublishRegionsOptions {
  /** Writes nothing and connects to nothing: tells keys, lifetimes and bytes, to the console or to the given function. */
  readonly dryRun?: boolean | Print | undefined
  /** Told of each region as it is settled. */
  readonly settled?: ((region: string, result: RegionResult) => void) | undefined
  /** Aborted: what is not settled by then fails with `ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Delivers every snapshot, all regions in one flight, and resolves once each of them is settled: it never rejects because
 * a region failed. The publisher stays connected; close it when you are done with it.
 * @example
 * ```ts
 * await using publisher = redisRegions({ url: process.env.REDIS_URL })
 * const { results, summary } = await publishRegions(publisher, snapshots)
 * process.exitCode = summary.exitCode
 * ```
 * @throws ConfigurationError `INVALID_OPTIONS`, `INVALID_REGION`, `TOO_MANY_REGIONS`; nothing was started then
 */
export async function publishRegions(
  publisher: RegionPublisher,
  snapshots: readonly RegionPublication[],
  options: PublishRegionsOptions = {},
): Promise<Published> {
  check(snapshots)
  const began = performance.now()
  if (options.dryRun !== undefined && options.dryRun !== false) {
    const results = plannedRegions(publisher, snapshots, options.dryRun === true ? toConsole : options.dryRun)
    return { results, summary: summaryOf(results, performance.now() - began) }
  }
  const results = await deliverAll(publisher, snapshots, options, began)
  return { results, summary: summaryOf(results, performance.now() - began) }
}

async function deliverAll(
  publisher: RegionPublisher,
  snapshots: readonly RegionPublication[],
  { settled, signal }: PublishRegionsOptions,
  began: number,
): Promise<Record<string, RegionResult>> {
  const results: Record<string, RegionResult> = {}
  const call = callOf(publisher)
  const waiting = new Map(snapshots.map((snapshot, ordinal) => [snapshot.region, { snapshot, ordinal }]))
  const finish = (region: string, told: Omit<RegionResult, 'ms'>) => {
    if (Object.hasOwn(results, region)) return
    // this call stays behind the later run; the next one is to go before it
    if (told.status === 'stale') usesOf(publisher).run = undefined
    results[region] = { ...told, ms: performance.now() - began }
    settled?.(region, results[region])
  }
  await new Promise<void>((resolve) => {
    let left = snapshots.length
    const actor = createActor(
      publisherMachine.provide({
        actors: {
          outbox: fromCallback(({ sendBack }) => {
            for (const { region } of snapshots) {
              sendBack({ type: 'region.offered', region, snapshots: 1 } satisfies OutboxEvent)
            }
          }),
          region: regionMachine.provide({
            actors: {
              delivery: delivery<Outgoing>(() => ({
                publisher,
                async toDeliver(region) {
                  const { snapshot, ordinal } = waiting.get(region)!
                  const outgoing = outgoingOf(publisher, snapshot, { ...(await call()), ordinal })
                  return [{ row: outgoing, outgoing }]
                },
                confirm: () => Promise.resolve(),
                attempting: () => undefined,
                delivered: () => undefined,
                waiting: () => undefined,
                passed: () => undefined,
                failed: () => undefined,
                settled: ({ region, status, bytes, attempts, error }) =>
                  finish(region, { status, bytes, attempts, ...(error === undefined ? {} : { error }) }),
              })),
            },
          }),
        },
        actions: {
          tellSettled: ({ event }: { event: PublisherEvent }) => {
            if (event.type === 'region.settled') left -= event.settled
            if (left === 0) queueMicrotask(end)
          },
          tellOffered: () => undefined,
          tellLooked: () => undefined,
          tellParked: () => undefined,
        },
      }),
      { input: { limits: limitsOf(publisher.settings) } },
    )
    const aborted = () => {
      for (const { region } of snapshots) {
        const error = new RetryableError(
          'ABORTED',
          `Region '${region}' was not settled when the call was aborted.`,
        )
        finish(region, { status: 'failed', bytes: 0, attempts: 0, error })
      }
      end()
    }
    const end = () => {
      signal?.removeEventListener('abort', aborted)
      actor.stop()
      resolve()
    }
    signal?.addEventListener('abort', aborted, { once: true })
    actor.start()
    if (signal?.aborted === true) aborted()
    else if (left === 0) end()
  })
  // in the order in which they were given
  return Object.fromEntries(snapshots.map(({ region }) => [region, results[region]!]))
}

function outgoingOf(
  { settings }: RegionPublisher,
  { region, id, body }: RegionPublication,
  stamp: Outgoing['stamp'],
): Outgoing {
  const text = serialise(body)
  return { region, id, stamp, body: text, hash: contentHash(text, settings.contentOf), writer: '' }
}

/** Of each publisher its run, and how many calls it had. */
interface Uses {
  run: Promise<number> | undefined
  calls: number
}

const runs = new WeakMap<RegionPublisher, Uses>()

function usesOf(publisher: RegionPublisher): Uses {
  const known = runs.get(publisher)
  if (known !== undefined) return known
  const uses: Uses = { run: undefined, calls: 0 }
  runs.set(publisher, uses)
  // another server, or one that has lost everything, counts runs anew
  publisher.onReconnect(() => {
    uses.run = undefined
  })
  return uses
}

/**
 * All but the place in the call. Asked for while connecting; where that fails, the next attempt asks anew. Once it is known
 * it is this call's: a later attempt with a later number would go before what was published in between (H51).
 */
function callOf(publisher: RegionPublisher): () => Promise<Omit<Outgoing['stamp'], 'ordinal'>> {
  const uses = usesOf(publisher)
  const commit = ++uses.calls
  let epoch: number | undefined
  return async () => {
    if (epoch === undefined) {
      const run = (uses.run ??= nextRun(publisher))
      try {
        const given = await run
        // regions ask side by side: the first answer is that of all
        epoch ??= given
      } catch (error) {
        if (uses.run === run) uses.run = undefined
        throw error
      }
    }
    return { incarnation: 0, epoch, commit }
  }
}

/** What keeps us from connecting is told as that. */
async function nextRun(publisher: RegionPublisher): Promise<number> {
  if (!publisher.isConnected) await publisher.connect()
  return publisher.nextRun()
}

function check(snapshots: readonly RegionPublication[]): void {
  if (!Array.isArray(snapshots)) throw invalid('publishRegions takes an array of { region, id, body }')
  if (snapshots.length > maxRegions) {
    throw new ConfigurationError(
      'TOO_MANY_REGIONS',
      `${snapshots.length} regions were given, and there may be ${maxRegions}: each is an actor with keys of its own. Publish fewer, larger snapshots, or in several calls.`,
      { phase: 'publish' },
    )
  }
  const seen = new Set<string>()
  for (const { region, id } of snapshots) {
    checkRegion(region)
    if (seen.has(region)) throw invalid(`region '${region}' is given twice: one snapshot a region and call`)
    seen.add(region)
    if (typeof id !== 'string' || id === '') {
      throw invalid(
        `region '${region}' has no id: give each snapshot one that a second attempt of the same snapshot repeats`,
      )
    }
  }
}

function invalid(message: string): ConfigurationError {
  return new ConfigurationError('INVALID_OPTIONS', `${message}.`, { phase: 'publish' })
}

function summaryOf(results: Readonly<Record<string, RegionResult>>, ms: number): PublishSummary {
  const all = Object.values(results)
  const count = (status: RegionResult['status']) => all.filter((result) => result.status === status).length
  return {
    regions: all.length,
    persisted: count('persisted'),
    duplicate: count('duplicate'),
    replayed: count('replayed'),
    stale: count('stale'),
    failed: count('failed'),
    planned: count('planned'),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    ms,
    exitCode: exitCodeOf(all),
  }
}

function exitCodeOf(results: readonly RegionResult[]): PublishSummary['exitCode'] {
  const errors = results.flatMap(({ error }) => (error === undefined ? [] : [error]))
  if (errors.length === 0) return 0
  if (errors.length < results.length) return 1
  if (errors.every((error) => error instanceof ConfigurationError)) return 2
  return errors.every((error) => error instanceof RetryableError) ? 75 : 1
}

const toConsole: Print = (line) => {
  process.stdout.write(`${line}\n`)
}
