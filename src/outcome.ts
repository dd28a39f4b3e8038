/** How a run ended. `run()` resolves to it, whatever happened; it rejects for misuse only. */
import type { TailraceError } from './errors.ts'
import type { RegionStatus } from './regions.ts'

interface Ended {
  /** Committed frontier: the next run goes on after it. */
  readonly committed: bigint
  /** Processed frontier; what lies between the two was not committed, and is handled again by the next run. */
  readonly processed: bigint
  /** Checkpoints `(from, upTo]` whose commit may or may not have landed; the next run finds out by itself. */
  readonly inDoubt?: { readonly from: bigint; readonly upTo: bigint } | undefined
  /** How each region stood at the end: what was not delivered is by the next run. Empty without a region publisher. */
  readonly regions: Readonly<Record<string, RegionStatus>>
}

export type Outcome =
  /** Every source ended; everything is committed. */
  | (Ended & { readonly status: 'finished' })
  /** Somebody asked; everything staged is committed. */
  | (Ended & { readonly status: 'stopped' })
  /** Another owner took the pipeline; nothing of ours landed after that. */
  | (Ended & {
      readonly status: 'superseded'
      readonly owner: { readonly epoch: bigint; readonly host: string; readonly pid: number } | undefined
    })
  | (Ended & {
      readonly status: 'failed'
      /** The first error. */
      readonly error: TailraceError
      /** Those that came after it. */
      readonly suppressed: readonly TailraceError[]
    })

/** 0 finished or stopped, 1 failed, 75 (EX_TEMPFAIL) superseded. */
export function exitCode(outcome: Outcome): 0 | 1 | 75 {
  switch (outcome.status) {
    case 'finished':
    case 'stopped':
      return 0
    case 'failed':
      return 1
    case 'superseded':
      return 75
    default:
      throw new Error(`unreachable: ${String(outcome satisfies never)}`)
  }
}
