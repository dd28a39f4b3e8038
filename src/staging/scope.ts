/**
 * One run of one handler. It ends when the handler has settled *and* every update it has begun is applied, whether
 * it was awaited or not: what a handler writes depends on its program, never on what happened to be cached.
 *
 * Maintained invariant: while an update waits for its row to be loaded, every later read and change of that row
 * stands in line behind it, and the line is worked off before any continuation of the handler runs.
 */
import { HandlerError } from '../errors.ts'
import type { Origin } from './staging.ts'
import type { KeyId, Row } from './table.ts'
import type { TableLog } from './table-log.ts'

/** Settles the promise of one call; kept back until the line has been worked off as far as it goes. */
type Answer = () => void
type Step = () => Answer | Promise<Answer>

/** Reads and changes of one row, in the order of the calls. */
interface Line {
  readonly steps: Step[]
  readonly worked: Promise<void>
}

export class Scope implements Origin {
  readonly checkpoint: number
  readonly item: number
  /** Speculative runs write here and nowhere else; then it is thrown away. */
  readonly overlay: Map<TableLog, Map<KeyId, Row | null>> | undefined
  /** Names the handler and where it runs, for messages. */
  readonly label: () => string
  #closed = false
  #lines: Map<TableLog, Map<KeyId, Line>> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(checkpoint: number, item: number, speculative: boolean, label: () => string) {
    this.checkpoint = checkpoint
    this.item = item
    this.overlay = speculative ? new Map() : undefined
    this.label = label
  }

  get speculative(): boolean {
    return this.overlay !== undefined
  }

  /** @throws HandlerError `CONTEXT_SETTLED` when the handler has settled (H10) */
  assertOpen(): void {
    if (!this.#closed) return
    throw new HandlerError(
      'CONTEXT_SETTLED',
      `${this.label()} used its context after it had settled; await every call on \`db\` inside the handler.`,
      { item: this.item },
    )
  }

  /** Is a change of this row still being worked out? Then whatever follows has to stand in line. */
  isPending(log: TableLog, id: KeyId): boolean {
    return this.#lines?.get(log)?.has(id) === true
  }

  /** Rows of this table whose value is still being worked out. */
  pendingOf(log: TableLog): readonly KeyId[] {
    return [...(this.#lines?.get(log)?.keys() ?? [])]
  }

  /** Runs `step` after every earlier one of this row; at once if there is none. Its failure is the caller's to see. */
  enqueue<T>(log: TableLog, id: KeyId, step: () => Promise<T> | T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#stand(log, id, () => {
        const failed = (error: unknown) => () => reject(error)
        try {
          const result = step()
          if (!(result instanceof Promise)) return () => resolve(result)
          return result.then((value) => () => resolve(value), failed)
        } catch (error) {
          return failed(error)
        }
      })
    })
  }

  /** A synchronous change that had to wait and then failed: the handler fails with it. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /** Closes, after what is still being applied. A promise only if there is something to wait for, or to throw. */
  settle(): Promise<void> | undefined {
    if (this.#lines !== undefined || this.#failure !== undefined) return this.#settleLater()
    this.#closed = true
    return undefined
  }

  async #settleLater(): Promise<void> {
    for (;;) {
      const lines = [...(this.#lines?.values() ?? [])].flatMap((ofTable) => [...ofTable.values()])
      if (lines.length === 0) break
      await Promise.all(lines.map((line) => line.worked))
    }
    this.#closed = true
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #stand(log: TableLog, id: KeyId, step: Step): void {
    this.#lines ??= new Map()
    let ofTable = this.#lines.get(log)
    if (ofTable === undefined) {
      ofTable = new Map()
      this.#lines.set(log, ofTable)
    }
    const line = ofTable.get(id)
    if (line !== undefined) {
      line.steps.push(step)
      return
    }
    const steps = [step]
    let done!: () => void
    const worked = new Promise<void>((resolve) => {
      done = resolve
    })
    ofTable.set(id, { steps, worked })
    void workOff(steps, () => {
      ofTable.delete(id)
      done()
    })
  }
}

/** One step after the other, and without a pause where none has to be waited for. Steps do not fail. */
async function workOff(steps: Step[], done: () => void): Promise<void> {
  let answers: Answer[] = []
  for (let step = steps.shift(); step !== undefined; step = steps.shift()) {
    const working = step()
    if (working instanceof Promise) {
      for (const answer of answers) answer()
      answers = [await working]
    } else {
      answers.push(working)
    }
  }
  done()
  for (const answer of answers) answer()
}
