/** The port behind which handlers' reads and writes go. Implemented in `staging/`. */
import type { BlockRef } from '../block.ts'

export interface Workspace {
  /** Opens a batch: what handlers write belongs to it. */
  begin(blocks: readonly BlockRef[]): void
  /** @param label names the handler and its place, for messages */
  scope(checkpoint: number, item: number, speculative: boolean, label: () => string): HandlerScope
  /** Handlers ended: the batch is staged. */
  end(): void
  /** The batch was aborted: nothing of it remains. */
  discard(): void
  /** Questions to the database so far; tells whether the speculative pass is worth its while. */
  readonly misses: number
}

/** What one handler run may touch. */
export interface HandlerScope {
  readonly db: object
  /** Stages a region's snapshot with the batch; a speculative run's is forgotten. */
  publish(region: string, body: unknown): void
  /** Closes it, after every change it has begun is applied. A promise only if there is something to wait for. */
  settle(): Promise<void> | undefined
}
