/**
 * How many batches the next group may hold, so that one commit takes about `groupLatencyMs`: at most twice the last
 * one, and what the measured latency allows. 0 commits every batch by itself.
 */
export class GroupSizer {
  readonly #latencyMs: number

  constructor(groupLatencyMs: number) {
    this.#latencyMs = groupLatencyMs
  }

  next(batches: number, tookMs: number): number {
    if (this.#latencyMs === 0) return 1
    const affordable = Math.floor((batches * this.#latencyMs) / Math.max(tookMs, 0.1))
    return Math.max(1, Math.min(affordable, batches * 2))
  }
}
