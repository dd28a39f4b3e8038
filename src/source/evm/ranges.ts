/**
 * How many blocks to ask for at once. Starts small, doubles while nothing is refused, then steers towards a
 * number of logs per answer. Pure: it sees sizes and outcomes, never the network.
 */

/**
 * Answers of this many logs are large enough to be efficient and small enough to parse in a few milliseconds.
 */
export const LOGS_PER_ANSWER = 4_000
const FIRST_SPAN = 500
/** Growth per success before the first refusal, and after it. */
const EAGER = 2
const WARY = 1.25
/**
 * Successes at a learnt ceiling before it is questioned: providers change, and some limits depend on the
 * data.
 */
const PATIENCE = 50

export interface RangeLimits {
  readonly maxBlockRange: number
}

export class RangePlanner {
  readonly #max: number
  #span: number
  #ceiling: number
  #growth = EAGER
  #atCeiling = 0

  constructor({ maxBlockRange }: RangeLimits) {
    this.#max = maxBlockRange
    this.#ceiling = maxBlockRange
    this.#span = Math.min(FIRST_SPAN, maxBlockRange)
  }

  /** Blocks that the next request should span. */
  get span(): number {
    return this.#span
  }

  /**
   * A request for `span` blocks was refused. `blocks` is what the endpoint said would do, `always` whether
   * that holds for every request. The new span is always smaller than the refused one, and at least 1.
   */
  tooMany(span: number, hint: { blocks?: number | undefined; always?: boolean | undefined } = {}): void {
    const hinted = hint.blocks !== undefined && hint.blocks < span ? hint.blocks : Math.floor(span / 2)
    this.#span = Math.max(1, Math.min(this.#span, hinted))
    this.#growth = WARY
    this.#atCeiling = 0
    if (hint.always === true)
      this.#ceiling = Math.max(1, Math.min(this.#ceiling, span - 1, hint.blocks ?? span))
  }

  /**
   * A request for `span` blocks gave `logs` logs. Outcomes of spans that are no longer in use are ignored.
   */
  succeeded(span: number, logs: number): void {
    if (logs > LOGS_PER_ANSWER && span > 1) {
      this.#span = Math.max(1, Math.min(this.#span, Math.floor((span * LOGS_PER_ANSWER) / logs)))
      return
    }
    if (span < this.#span) return
    if (this.#span >= this.#ceiling && this.#ceiling < this.#max && ++this.#atCeiling >= PATIENCE) {
      this.#ceiling = Math.min(this.#max, this.#ceiling * 2)
      this.#atCeiling = 0
    }
    const room = logs === 0 ? Infinity : (span * LOGS_PER_ANSWER) / logs
    const grown = Math.min(Math.ceil(this.#span * this.#growth), Math.max(this.#span, Math.floor(room)))
    this.#span = Math.min(grown, this.#ceiling)
  }
}
