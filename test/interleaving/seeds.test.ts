/**
 * Notable cases of the random tests, kept: each is the first that finds the faults named beside it (`test/mutants/`, where
 * they are described; `npm run mutants` prints seed and path), and finds them again by itself: where the size of a group
 * follows the clock, a case is not the same twice. A change of the generators makes other cases of them: then the list is
 * made anew.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mutants } from '../mutants/mutants.ts'
import { forksCases } from './forks-cases.ts'
import { checkForks } from './forks-world.ts'
import { cases, check, inMemory } from './world.ts'

interface Notable {
  readonly seed: number
  readonly path: string
  readonly finds: readonly string[]
}

const seeds: readonly Notable[] = [
  { seed: 34, path: '0', finds: ['resolve-believes-the-loss'] },
  { seed: 34, path: '1', finds: ['newest-batch-first', 'lost-is-not-resolved', 'late-load-remembered'] },
  {
    seed: 34,
    path: '4',
    finds: [
      'compute-after-failure',
      'find-ignores-shadows',
      'find-asks-too-few',
      'find-answers-outlive-their-batch',
    ],
  },
  { seed: 34, path: '9', finds: ['cursor-stays-behind'] },
  { seed: 34, path: '12', finds: ['halt-leaves-the-wire'] },
  { seed: 34, path: '19', finds: ['index-misses-changes'] },
  { seed: 34, path: '21', finds: ['staged-version-overwritten', 'find-sees-the-future'] },
  { seed: 34, path: '34', finds: ['release-at-landing', 'evicts-uncommitted'] },
  { seed: 34, path: '41', finds: ['find-overlooks-updates'] },
  { seed: 34, path: '55', finds: ['exit-without-drain'] },
  { seed: 34, path: '58', finds: ['held-since-last-change'] },
  { seed: 34, path: '68', finds: ['find-reuses-a-shorter-answer'] },
  { seed: 34, path: '70', finds: ['group-grows-on-its-way'] },
  { seed: 34, path: '81', finds: ['find-forgets-blind-writes'] },
  { seed: 34, path: '124', finds: ['settle-leaves-updates'] },
  { seed: 34, path: '281', finds: ['changes-overtake-updates'] },
]

const seedsWithForks: readonly Notable[] = [
  { seed: 34, path: '0', finds: ['anchors-are-not-stored'] },
  {
    seed: 34,
    path: '1',
    finds: [
      'commit-beside-a-fork',
      'stored-positions-pruned-too-far',
      'sources-rewound-below-what-is-staged',
    ],
  },
  { seed: 34, path: '3', finds: ['rewind-gives-ids-back'] },
  {
    seed: 34,
    path: '5',
    finds: ['recall-leaves-the-wire', 'restore-never-reaches-the-floor', 'fork-of-one-is-not-restored'],
  },
  { seed: 34, path: '6', finds: ['stored-cursor-stays'] },
  { seed: 34, path: '9', finds: ['ids-go-on-above-what-is-final'] },
  {
    seed: 34,
    path: '10',
    finds: ['safe-point-of-one-source', 'slice-collapses-checkpoints', 'history-last-image-wins'],
  },
  { seed: 34, path: '11', finds: ['history-pruned-too-far'] },
  { seed: 34, path: '22', finds: ['slice-of-another-checkpoint'] },
  { seed: 34, path: '23', finds: ['ended-survives-a-rollback'] },
  { seed: 34, path: '28', finds: ['cut-forgets-nothing'] },
  { seed: 34, path: '33', finds: ['recalled-group-sent-again'] },
  { seed: 34, path: '40', finds: ['counter-goes-back'] },
  { seed: 34, path: '130', finds: ['final-one-block-early'] },
]

test.each(seeds)(
  'I2 I4 I6 I7 I8 I10: case $path of seed $seed, which finds $finds',
  async ({ seed, path, finds }) => {
    for (const id of finds) expect(mutants.map((mutant) => mutant.id)).toContain(id)
    let ran = 0
    await fc.assert(
      fc.asyncProperty(cases, fc.scheduler(), async (given, schedule) => {
        ran++
        await check(given, schedule, inMemory())
      }),
      { seed, path, numRuns: 1, endOnFailure: true, includeErrorInReport: true },
    )
    expect(ran).toBe(1)
  },
)

test.each(seedsWithForks)(
  'I2 I4 I5 I8 I10 I12 I15: case $path of seed $seed with forks, which finds $finds',
  async ({ seed, path, finds }) => {
    for (const id of finds) expect(mutants.map((mutant) => mutant.id)).toContain(id)
    let ran = 0
    await fc.assert(
      fc.asyncProperty(forksCases, fc.scheduler(), async (given, schedule) => {
        ran++
        await checkForks(given, schedule, inMemory())
      }),
      { seed, path, numRuns: 1, endOnFailure: true, includeErrorInReport: true },
    )
    expect(ran).toBe(1)
  },
)
