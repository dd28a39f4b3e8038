/**
 * The CPU phase of one batch: a speculative pass in which all handlers run together, so that their loads merge, then
 * the ordered pass that counts. It yields to the event loop every few milliseconds, so that the commit beside it
 * makes progress (H64).
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { HandlerError, TailraceError, messageOf } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { NumberedBlock } from '../source/feed.ts'
import { HandlerContext } from './context.ts'
import type { Program } from './program.ts'
import type { HandlerScope, Workspace } from './workspace.ts'

/**
 * Handlers run this long before the event loop gets a turn. Half of it is how late a commit's answer is heard, and
 * the next commit sent. What a turn itself costs is not measurable at 1 ms (docs/performance.md).
 */
const turnMs = 1

/** The speculative pass has longer turns: what is asked for within one becomes one query. */
const speculativeTurnMs = 4

export interface BatchTimes {
  readonly preloadMs: number
  readonly handleMs: number
}

export class BatchRunner {
  readonly #program: Program
  readonly #workspace: Workspace
  readonly #log: Logger
  /** The speculative pass found something to load lately, or the ordered pass had to. */
  #worthwhile = true
  #turnBegan = 0

  constructor(program: Program, workspace: Workspace, log: Logger) {
    this.#program = program
    this.#workspace = workspace
    this.#log = log
  }

  /**
   * Stages the batch. On abort or error nothing of it remains.
   * @throws HandlerError naming handler, block and item; the signal's reason when aborted
   */
  async run(
    blocks: readonly NumberedBlock[],
    signal: AbortSignal,
    preloaded: () => void,
  ): Promise<BatchTimes> {
    const began = performance.now()
    this.#turnBegan = began
    this.#workspace.begin(blocks.map(({ ref }) => ref))
    try {
      await this.#preload(blocks, signal)
      signal.throwIfAborted()
      preloaded()
      const handling = performance.now()
      const misses = this.#workspace.misses
      for (const block of blocks) await this.#handle(block, signal)
      signal.throwIfAborted()
      if (this.#workspace.misses > misses) this.#worthwhile = true
      this.#workspace.end()
      return { preloadMs: handling - began, handleMs: performance.now() - handling }
    } catch (error) {
      this.#workspace.discard()
      throw error
    }
  }

  // ── the speculative pass ──────────────────────────────────────────────────────────────────────────────────

  async #preload(blocks: readonly NumberedBlock[], signal: AbortSignal): Promise<void> {
    const { preload } = this.#program
    if (preload === false) return
    if (preload !== undefined) return this.#preloadByHand(preload, blocks, signal)
    if (!this.#worthwhile) return
    const misses = this.#workspace.misses
    const running: Promise<void>[] = []
    const began = (run: Promise<void> | undefined) => void (run !== undefined && running.push(run))
    try {
      // pauses at the end of a turn only: what is asked for within one turn becomes one query
      for (const numbered of blocks) {
        const { items } = numbered.block
        for (let index = 0; this.#program.item !== undefined && index < items.length; index++) {
          began(this.#speculate(this.#program.item, items[index], numbered, index, signal))
          if (this.#isTurnOver(speculativeTurnMs)) await this.#nextTurn()
          signal.throwIfAborted()
        }
        if (this.#program.block !== undefined) {
          began(this.#speculate(this.#program.block, numbered.block, numbered, -1, signal))
        }
        if (this.#isTurnOver(turnMs)) await this.#nextTurn()
        signal.throwIfAborted()
      }
    } finally {
      await Promise.all(running)
    }
    this.#worthwhile = this.#workspace.misses > misses
  }

  /** Whatever goes wrong here is harmless: the ordered pass is what counts. */
  #speculate(
    handler: (subject: unknown, context: unknown) => unknown,
    subject: unknown,
    { block, ref }: NumberedBlock,
    item: number,
    signal: AbortSignal,
  ): Promise<void> | undefined {
    const scope = this.#workspace.scope(ref.checkpoint, item, true, () => 'the speculative pass')
    const context = new HandlerContext(scope, block, ref.checkpoint, signal, true, this.#log)
    try {
      const result = handler(subject, context)
      if (isThenable(result)) return settleQuietly(result, scope)
    } catch {
      // seen again, and then reported, in the ordered pass
    }
    return scope.settle()?.catch(() => undefined)
  }

  async #preloadByHand(
    preload: Exclude<Program['preload'], false | undefined>,
    blocks: readonly NumberedBlock[],
    signal: AbortSignal,
  ): Promise<void> {
    const last = blocks[blocks.length - 1]!
    const label = () => `preload of blocks ${blocks[0]!.ref.number}–${last.ref.number}`
    const scope = this.#workspace.scope(last.ref.checkpoint, -1, true, label)
    const context = new HandlerContext(scope, last.block, last.ref.checkpoint, signal, true, this.#log)
    try {
      await preload(
        blocks.map(({ block }) => block),
        context,
      )
    } catch (cause) {
      if (signal.aborted) throw cause
      throw new HandlerError('PRELOAD_FAILED', `${label()} failed: ${messageOf(cause)}`, {
        cause,
        phase: 'compute',
      })
    } finally {
      await scope.settle()
    }
  }

  // ── the ordered pass ──────────────────────────────────────────────────────────────────────────────────────

  async #handle(numbered: NumberedBlock, signal: AbortSignal): Promise<void> {
    const { item, block: handleBlock } = this.#program
    const { items } = numbered.block
    if (item !== undefined) {
      for (let index = 0; index < items.length; index++) {
        const handled = this.#invoke(item, items[index], numbered, index, signal)
        if (handled !== undefined) await handled
        if (this.#isTurnOver(turnMs)) await this.#nextTurn()
        signal.throwIfAborted()
      }
    }
    if (handleBlock !== undefined) await this.#invoke(handleBlock, numbered.block, numbered, -1, signal)
    if (this.#isTurnOver(turnMs)) await this.#nextTurn()
    signal.throwIfAborted()
  }

  /** Runs one handler to its end. A promise only if it has to be waited for. */
  #invoke(
    handler: (subject: unknown, context: unknown) => unknown,
    subject: unknown,
    numbered: NumberedBlock,
    item: number,
    signal: AbortSignal,
  ): Promise<void> | undefined {
    const { block, ref } = numbered
    const label = () => this.#label(subject, numbered, item)
    const scope = this.#workspace.scope(ref.checkpoint, item, false, label)
    const context = new HandlerContext(scope, block, ref.checkpoint, signal, false, this.#log)
    try {
      const result = handler(subject, context)
      if (isThenable(result)) return this.#finish(result, scope, numbered, item, label)
      return scope.settle()?.catch((cause: unknown) => {
        throw failureOf(cause, numbered, item, label())
      })
    } catch (cause) {
      const failure = failureOf(cause, numbered, item, label())
      const settling = scope.settle()
      if (settling === undefined) throw failure
      // an update it has begun must not reach into the next batch
      return settling
        .catch(() => undefined)
        .then(() => {
          throw failure
        })
    }
  }

  async #finish(
    result: PromiseLike<unknown>,
    scope: HandlerScope,
    numbered: NumberedBlock,
    item: number,
    label: () => string,
  ): Promise<void> {
    try {
      await result
    } catch (cause) {
      await scope.settle()?.catch(() => undefined)
      throw failureOf(cause, numbered, item, label())
    }
    try {
      await scope.settle()
    } catch (cause) {
      throw failureOf(cause, numbered, item, label())
    }
  }

  #label(subject: unknown, { ref }: NumberedBlock, item: number): string {
    const place = `block ${ref.number} of source '${ref.source}'`
    return item < 0
      ? `handleBlock at ${place}`
      : `${this.#program.nameOf(subject)} at item ${item} of ${place}`
  }

  #isTurnOver(afterMs: number): boolean {
    return performance.now() - this.#turnBegan >= afterMs
  }

  async #nextTurn(): Promise<void> {
    await nextTurn()
    this.#turnBegan = performance.now()
  }
}

function failureOf(cause: unknown, { ref }: NumberedBlock, item: number, label: string): TailraceError {
  // a fault of the database is not the handler's
  if (cause instanceof TailraceError && !(cause instanceof HandlerError)) return cause
  return new HandlerError('HANDLER_FAILED', `${label} failed: ${messageOf(cause)}`, {
    cause,
    phase: 'compute',
    block: { source: ref.source, number: ref.number },
    batch: { from: BigInt(ref.checkpoint), upTo: BigInt(ref.checkpoint) },
    item: item < 0 ? undefined : item,
    ...(cause instanceof HandlerError ? { table: cause.table, column: cause.column, key: cause.key } : {}),
  })
}

async function settleQuietly(result: PromiseLike<unknown>, scope: HandlerScope): Promise<void> {
  try {
    await result
  } catch {
    // see `#speculate`
  }
  await scope.settle()?.catch(() => undefined)
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}
