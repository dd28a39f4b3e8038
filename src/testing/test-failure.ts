/** How a test fails: what differs or what went wrong, what had happened before, and how to have it again. */
import { inspect } from 'node:util'
import { messageOf, TailraceError, type ErrorFacts } from '../errors.ts'
import type { Found } from './ledger.ts'
import { sourceId } from './shown-chain.ts'
import { told, type HistoryEntry } from './story.ts'
import type { CaseEnd, Verdict } from './tested-case.ts'

/** Which case it was. */
export interface FailedCase {
  /** Replays it. */
  readonly seed: number
  /** From 0; the first is undisturbed. */
  readonly nth: number
  readonly cases: number
  readonly mayFork: boolean
}

/**
 * What `testIndexer` rejects with. `code` is `ROWS_DIFFER` or `REGION_DIFFERS` for a difference from the naive run;
 * otherwise that of the indexer's own error, which is the `cause`, with its `table`, `key`, `block` and `item`.
 * @example
 * ```ts
 * await expect(testIndexer({ blocks, tables, handle })).rejects.toMatchObject({ code: 'HANDLER_FAILED', item: 0 })
 * ```
 */
export class TestFailure extends TailraceError {
  override readonly name = 'TestFailure'
  /** `testIndexer({ …, seed })` has this case again. */
  readonly seed: number
  /** What happened in the case, made as small as it could be. */
  declare readonly history: readonly HistoryEntry[]
  /** Of a difference: what is there, and what must be. Test runners show the two. */
  declare readonly actual?: unknown
  declare readonly expected?: unknown

  constructor(
    code: string,
    message: string,
    facts: ErrorFacts & { readonly seed: number; readonly history: readonly HistoryEntry[] },
  ) {
    const { seed, history, ...known } = facts
    super(code, message, known)
    this.seed = seed
    // not enumerable: it is in the message already
    Object.defineProperty(this, 'history', { value: history })
  }
}

export function failureOf({ verdict, history }: CaseEnd, at: FailedCase): TestFailure {
  const { seed } = at
  switch (verdict.is) {
    case 'differing': {
      const { found } = verdict
      const failure = new TestFailure(
        'ROWS_DIFFER',
        paragraphs(differing(found), happened(history, at), causes(history, at)),
        {
          phase: 'commit',
          table: found.table,
          key: found.key,
          ...(found.after === null ? {} : { block: { source: sourceId, number: found.after } }),
          seed,
          history,
        },
      )
      return showing(failure, found.is, found.mustBe)
    }
    case 'published': {
      const { region, was, mustBe } = verdict
      const what = `testIndexer: region '${region}' shows something else than the handlers publish block by block.`
      const texts = [`  is       ${show(was)}`, `  must be  ${show(mustBe)}`]
      const message = paragraphs([what], texts, happened(history, at), causes(history, at))
      return showing(
        new TestFailure('REGION_DIFFERS', message, { phase: 'publish', seed, history }),
        was,
        mustBe,
      )
    }
    case 'failed':
      return failed(verdict.error, history, at)
    case 'passed':
      throw new Error('nothing failed')
    default:
      throw new Error(`unreachable: ${String(verdict satisfies never)}`)
  }
}

/** Of the same kind: what a smaller case has to end in to count as the same failure. */
export function kindOf(verdict: Verdict): string {
  switch (verdict.is) {
    case 'differing':
      return `differing ${verdict.found.table}`
    case 'published':
      return `published ${verdict.region}`
    case 'failed':
      return `failed ${verdict.error instanceof TailraceError ? verdict.error.code : messageOf(verdict.error)}`
    case 'passed':
      return 'passed'
    default:
      throw new Error(`unreachable: ${String(verdict satisfies never)}`)
  }
}

function failed(error: unknown, history: readonly HistoryEntry[], at: FailedCase): TestFailure {
  const what = `testIndexer: ${messageOf(error)}`
  const message =
    at.nth === 0
      ? `${what}\n\nNothing disturbed it.`
      : paragraphs([what], happened(history, at), causes(history, at))
  const { code, phase, table, column, key, block, item, batch } =
    error instanceof TailraceError ? error : ({ code: 'RUN_FAILED' } as TailraceError)
  const facts = { cause: error, phase, table, column, key, block, item, batch, seed: at.seed, history }
  return new TestFailure(code, message, facts)
}

/** The handlers fail when they are called one after the other, and did not on the indexer. */
export function referenceFailure(error: unknown, seed: number): TestFailure {
  const message = `testIndexer: the handlers failed when they were called one item after the other, with nothing around them (referenceRun), and not on the indexer: ${messageOf(error)}\n\nWhat they do depends on something else than the item, the block and the rows.`
  return new TestFailure('REFERENCE_FAILED', message, { cause: error, phase: 'compute', seed, history: [] })
}

// ── below: texts ────────────────────────────────────────────────────────────────────────────────────────────

function differing({ table, row, after, is, mustBe, others }: Found): string[] {
  const when = after === null ? 'before the first block' : `after block ${after}`
  const more = others === 0 ? '' : `, and ${others} more of this table`
  return [
    `testIndexer: table \`${table}\` differs from what the handlers make of the same blocks one by one.`,
    '',
    `  row      ${row}, ${when}${more}`,
    `  is       ${is === undefined ? 'absent' : show(is)}`,
    `  must be  ${mustBe === undefined ? 'absent' : show(mustBe)}`,
  ]
}

function happened(history: readonly HistoryEntry[], { nth, cases, seed }: FailedCase): string[] {
  const all = told(history).map((line) => `  ${line}`)
  const lines =
    all.length <= mostLines ? all : [`  … ${all.length - mostLines} before`, ...all.slice(-mostLines)]
  if (nth === 0) {
    return [
      'Nothing disturbed it: the same handlers were called once more, now on the indexer and block by block.',
      '',
      ...lines,
    ]
  }
  const without = isDisturbed(history) ? '' : '; nothing that disturbs it was needed'
  return [
    `In case ${nth + 1} of ${cases}, made small${without}. What happened, in order:`,
    '',
    ...lines,
    '',
    `Replay it with testIndexer({ …, seed: ${seed} }).`,
  ]
}

const quiet: ReadonlySet<HistoryEntry['type']> = new Set(['run', 'commit', 'end'])

function isDisturbed(history: readonly HistoryEntry[]): boolean {
  return history.some(({ type }) => !quiet.has(type))
}

function causes(history: readonly HistoryEntry[], { mayFork }: FailedCase): string[] {
  const disturbed = isDisturbed(history)
  return [
    'Usual causes:',
    '  - state outside the rows: a variable of the module, a cache, a closure. It is gone with its process, and a fork does not take it back. Keep it in a table.',
    '  - Date.now(), Math.random(), a random default: take the time of the block, the id of the item.',
    ...(disturbed
      ? [
          '  - a result that depends on where a batch ends, or on `checkpoint`: it has gaps after a crash or a fork.',
          '  - a call that nobody awaits.',
        ]
      : [
          '  - a handler is called twice for an item, first with `preloading`: what it does besides `db` belongs behind `if (!preloading)`.',
          '  - state that a new process begins without: empty it in `beforeRun`, and the rest of it is tested.',
        ]),
    ...(disturbed && mayFork && history.some(({ type }) => type === 'fork')
      ? ['', 'A source that never forks is tested with testIndexer({ …, forks: false }).']
      : []),
  ]
}

const mostLines = 40

function paragraphs(...texts: readonly (readonly string[])[]): string {
  return texts.map((lines) => lines.join('\n')).join('\n\n')
}

function show(value: unknown): string {
  return inspect(value, { depth: 4, breakLength: Infinity, maxStringLength: 200, maxArrayLength: 20 })
}

function showing(failure: TestFailure, actual: unknown, expected: unknown): TestFailure {
  return Object.assign(failure, { actual, expected })
}
