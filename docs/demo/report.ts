/** What is printed after the run: where its time went, and what the chain says about the result. */
import type { Outcome, Stalls } from 'tailrace'
import type { Reorg } from './live.ts'
import type { Totals } from './progress.ts'
import { bold, count, cyan, dim, fact, green, percent, red, say, seconds, yellow } from './terminal.ts'
import type { Verification } from './verify.ts'

const compute: Readonly<Record<keyof Stalls['compute'], string>> = {
  opening: 'connect, make tables, take the pipeline',
  pull: 'wait for blocks of the chain',
  preload: 'handlers, speculative pass: all loads in one query',
  handle: 'handlers, in order',
  handOver: "wait until a commit's bytes are in the socket",
  budget: 'wait for room: too much staged',
  drain: 'wait for the last commit',
  rollback: 'undo a fork',
}

const commit: Readonly<Record<keyof Stalls['commit'], string>> = {
  commit: 'a commit is on its way',
  idle: 'nothing to commit',
  rollback: 'undo a fork',
}

export function reportStalls({ items, batches, commits, rows, stalls }: Totals): void {
  say()
  fact(
    'indexed',
    `${count(items)} events in ${count(batches)} batches → ${count(rows)} rows in ${count(commits)} commits`,
  )
  fact('took', `${bold(seconds(stalls.wallMs))}, all of it accounted for, once for each lane:`)
  say()
  lane('handlers', stalls.compute, compute, stalls.wallMs, cyan)
  say()
  lane('commits', stalls.commit, commit, stalls.wallMs, green)
  say()
  const busyMs = stalls.compute.preload + stalls.compute.handle
  const bothMs = stalls.overlapRatio * Math.min(busyMs, stalls.commit.commit)
  fact(
    'overlap',
    `${bold(percent(stalls.overlapRatio))}: of ${seconds(stalls.commit.commit)} of commits, ${seconds(bothMs)} passed while handlers ran.`,
  )
}

/** Forks, as the chain made them and the indexer's events told of them. */
export function reportReorgs(reorgs: readonly Reorg[]): void {
  if (reorgs.length === 0) return
  const line = (depth: string, rolledBack: string, dropped: string, took: string) =>
    `  ${''.padEnd(10)}${depth.padEnd(8)}${rolledBack.padEnd(25)}${dropped.padEnd(25)}${took}`
  say()
  fact('reorgs', `${reorgs.length}, at the head, each while a commit was on the wire:`)
  say()
  say(dim(line('depth', 'committed, rolled back', 'staged, dropped unsent', 'rollback took')))
  for (const { depth, committedBlocks, restoredRows, droppedBatches, rollbackMs } of reorgs) {
    const rows = restoredRows === undefined ? 'rows unknown' : several(restoredRows, 'row')
    say(
      line(
        count(depth),
        committedBlocks === 0 ? '–' : `${several(committedBlocks, 'block')}, ${rows}`,
        droppedBatches === 0 ? '–' : several(droppedBatches, 'batch', 'batches'),
        seconds(rollbackMs),
      ),
    )
  }
}

const several = (number: number, one: string, many = `${one}s`): string =>
  `${count(number)} ${number === 1 ? one : many}`

function lane<Doing extends string>(
  name: string,
  ms: Readonly<Record<Doing, number>>,
  meaning: Readonly<Record<Doing, string>>,
  wallMs: number,
  paint: (text: string) => string,
): void {
  const doings = (Object.keys(meaning) as Doing[]).filter((doing) => ms[doing] >= 0.5)
  for (const [index, doing] of doings.entries()) {
    const share = ms[doing] / wallMs
    const length = Math.max(1, Math.round(share * 20))
    say(
      `  ${(index === 0 ? name : '').padEnd(10)}${doing.padEnd(9)}${seconds(ms[doing]).padStart(7)} ` +
        `${paint('█'.repeat(length))}${' '.repeat(21 - length)}${dim(meaning[doing])}`,
    )
  }
}

/** @returns whether the tables are what the chain says */
export function reportChecks({ block, checks }: Verification, ms: number): boolean {
  say()
  if (block === undefined) {
    fact('checked', 'nothing was committed, so there is nothing to check')
    return true
  }
  fact('checked', `against the chain itself, at block ${count(block)}, in ${seconds(ms)}`)
  let isSound = true
  for (const { what, checked, differences, unless } of checks) {
    const isMatch = differences.length === 0
    if (!isMatch && unless === undefined) isSound = false
    const mark = isMatch ? green('✓') : unless === undefined ? red('✗') : yellow('–')
    const found = isMatch
      ? ''
      : `, ${count(differences.length)} differ${unless === undefined ? '' : ` (${unless})`}`
    say(`  ${''.padEnd(10)}${mark} ${count(checked)} ${what}${found}`)
    for (const difference of differences.slice(0, 5)) say(`  ${''.padEnd(12)}${difference}`)
  }
  return isSound
}

export function reportOutcome(outcome: Outcome): void {
  if (outcome.status === 'finished') return
  const { status, committed, processed } = outcome
  say()
  fact(status, `committed up to checkpoint ${committed}, handled up to ${processed}`)
  if (outcome.status === 'failed') {
    fact('error', `${red(outcome.error.code)}: ${outcome.error.message}`)
    for (const error of outcome.suppressed) fact('', `then ${error.code}: ${error.message}`)
  }
}
