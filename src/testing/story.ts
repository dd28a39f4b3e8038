/** What happened in a case, in order: for `history()`, and for the message of one that failed. */
import type { PlannedRun } from './plan.ts'

/**
 * Blocks are told by their numbers; `orphans` are those among them that the chain takes back later.
 * @example `{ type: 'commit', blocks: [3, 4], orphans: [4], rows: 7 }`
 */
export type HistoryEntry =
  | ({ readonly type: 'run'; readonly run: number } & Pick<
      PlannedRun,
      'batchItems' | 'stagedBytes' | 'groupLatencyMs' | 'preload'
    >)
  | {
      readonly type: 'commit'
      readonly blocks: readonly number[]
      readonly orphans: readonly number[]
      /** Rows that were written or deleted. */
      readonly rows: number
    }
  /** A source says that these blocks are orphaned; `validTo`: the newest that is left. */
  | { readonly type: 'fork'; readonly validTo: number | null; readonly depth: number }
  /** Committed blocks are taken back, down to `to`. */
  | { readonly type: 'rollback'; readonly to: number | null; readonly rows: number }
  /** The connection broke, or the answer was lost, of a commit or a rollback. */
  | { readonly type: 'lost'; readonly what: 'commit' | 'rollback'; readonly landed: boolean }
  /** The process died; `inFlight`: when the commit or rollback that was on the wire landed, if it did. */
  | {
      readonly type: 'crash'
      readonly inFlight?: 'landed before' | 'landed after' | 'never landed' | undefined
    }
  /** Asked for by the test: a stop, an abort, a handler that fails once. */
  | { readonly type: 'stop' | 'abort' | 'handler fails' }
  | { readonly type: 'end'; readonly status: 'finished' | 'stopped' | 'superseded' | 'failed' }

/** A line for each entry. */
export function told(history: readonly HistoryEntry[]): string[] {
  return history.map((entry) => (entry.type === 'run' ? tell(entry) : `  ${tell(entry)}`))
}

function tell(entry: HistoryEntry): string {
  switch (entry.type) {
    case 'run': {
      const pass = entry.preload ? 'with' : 'without'
      return `run ${entry.run} begins: batches of ${count(entry.batchItems, 'item')}, ${pass} the speculative pass`
    }
    case 'commit': {
      const { blocks, orphans } = entry
      const of = 'of a branch that is orphaned later'
      if (orphans.length === 0) return `commit of ${named(blocks)}`
      if (orphans.length === blocks.length) return `commit of ${named(blocks)}, ${of}`
      return `commit of ${named(blocks)}, where ${named(orphans)} ${orphans.length === 1 ? 'is' : 'are'} ${of}`
    }
    case 'fork':
      return `fork: ${entry.validTo === null ? 'every block' : `every block above ${entry.validTo}`} is orphaned`
    case 'rollback':
      return `rollback to ${entry.to === null ? 'the beginning' : `block ${entry.to}`}`
    case 'lost':
      return `the answer to a ${entry.what} was lost, which had ${entry.landed ? '' : 'not '}landed`
    case 'crash':
      return `crash: the process is gone${inFlightTexts[entry.inFlight ?? 'nothing']}`
    case 'stop':
      return 'stop() was called'
    case 'abort':
      return 'abort() was called'
    case 'handler fails':
      return 'a handler failed, by the test'
    case 'end':
      return `the run ended: ${entry.status}`
    default:
      throw new Error(`unreachable: ${String(entry satisfies never)}`)
  }
}

const inFlightTexts = {
  nothing: '',
  'landed before': ' before it hears of that',
  'landed after': ', and what it had on the wire lands after it',
  'never landed': ', and what it had on the wire with it',
} as const

function count(amount: number, what: string): string {
  return amount === 1 ? `1 ${what}` : `up to ${amount} ${what}s`
}

/** `block 3`, `blocks 3–5`, `blocks 3, 7`. */
function named(blocks: readonly number[]): string {
  const ranges: { readonly from: number; upTo: number }[] = []
  for (const block of blocks) {
    const last = ranges.at(-1)
    if (last !== undefined && block === last.upTo + 1) last.upTo = block
    else ranges.push({ from: block, upTo: block })
  }
  const texts = ranges.map(({ from, upTo }) => (from === upTo ? `${from}` : `${from}–${upTo}`))
  return `${blocks.length === 1 ? 'block' : 'blocks'} ${texts.join(', ')}`
}
