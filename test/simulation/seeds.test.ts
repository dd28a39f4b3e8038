/**
 * Notable worlds, kept: each finds the faults named beside it (`test/mutants/`) where they are made. A change of the
 * generators, or of the world, makes other worlds of them: then the list is made anew from what `npm run mutants` prints.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mutants } from '../mutants/mutants.ts'
import { simulatedCases } from './cases.ts'
import { simulate } from './world.ts'

interface Notable {
  readonly seed: number
  readonly finds: readonly string[]
}

const seeds: readonly Notable[] = [
  {
    seed: 1,
    finds: [
      'ids-go-on-above-what-is-final',
      'compute-after-failure',
      'frames-are-not-handed-over',
      'delivery-begins-while-failing',
      'growth-is-not-counted',
      'find-ignores-shadows',
      'find-sees-the-future',
      'held-since-last-change',
      'find-reuses-a-shorter-answer',
      'find-answers-outlive-their-batch',
      'staged-rows-are-not-frozen',
      'fork-of-one-is-not-restored',
      'stored-cursor-stays',
      'counter-goes-back',
      'reconnect-listener-left',
    ],
  },
  { seed: 2, finds: ['landing-frees-no-room', 'commit-waits-for-regions', 'outbox-timer-left'] },
  {
    seed: 3,
    finds: [
      'newest-batch-first',
      'group-grows-on-its-way',
      'compute-waits-for-the-commit',
      'evicts-uncommitted',
    ],
  },
  { seed: 4, finds: ['batch-restarts-the-commit', 'exit-without-drain'] },
  {
    seed: 5,
    finds: [
      'find-asks-too-few',
      'find-forgets-blind-writes',
      'restore-never-reaches-the-floor',
      'ordinal-is-not-in-the-stamp',
    ],
  },
  {
    seed: 6,
    finds: [
      'batch-over-a-full-budget',
      'index-misses-changes',
      'find-overlooks-updates',
      'sources-rewound-below-what-is-staged',
      'commit-beside-a-fork',
    ],
  },
  { seed: 7, finds: ['cursor-stays-behind'] },
  {
    seed: 8,
    finds: [
      'group-takes-later-value',
      'lost-is-not-resolved',
      'rewind-gives-ids-back',
      'staged-values-are-handed-out',
      'anchors-are-not-stored',
      'history-pruned-too-far',
      'final-one-block-early',
      'recalled-group-sent-again',
    ],
  },
  {
    seed: 9,
    finds: [
      'resolve-believes-the-loss',
      'history-last-image-wins',
      'stored-positions-pruned-too-far',
      'recall-leaves-the-wire',
    ],
  },
  { seed: 10, finds: ['flight-past-its-deadline-is-sent-beside-itself'] },
  { seed: 11, finds: ['region-fails-the-run'] },
  { seed: 13, finds: ['what-waits-is-not-settled'] },
  { seed: 14, finds: ['one-region-halts-all', 'marked-before-it-is-delivered'] },
  { seed: 15, finds: ['stamp-order-ignored'] },
  {
    seed: 17,
    finds: [
      'settle-leaves-updates',
      'slice-of-another-checkpoint',
      'straddling-batch-dropped',
      'cut-forgets-nothing',
    ],
  },
  { seed: 18, finds: ['release-at-landing'] },
  { seed: 19, finds: ['superseded-is-not-landed', 'superseded-goes-on'] },
  { seed: 47, finds: ['staged-version-overwritten'] },
  { seed: 48, finds: ['slice-collapses-checkpoints'] },
  { seed: 61, finds: ['exit-forgets-marks'] },
  { seed: 64, finds: ['halt-leaves-the-wire'] },
  { seed: 70, finds: ['safe-point-of-one-source'] },
  { seed: 80, finds: ['snapshots-are-not-counted'] },
  { seed: 83, finds: ['late-block-keeps-its-late-place'] },
  { seed: 84, finds: ['unanswered-question-is-a-no'] },
  { seed: 132, finds: ['changes-overtake-updates'] },
  { seed: 278, finds: ['ended-survives-a-rollback'] },
  { seed: 332, finds: ['mark-is-lost-in-flight', 'marks-cleared-by-any-commit'] },
  { seed: 440, finds: ['rollback-is-not-looked-at'] },
  { seed: 526, finds: ['look-believes-the-mark'] },
  { seed: 729, finds: ['last-error-wins'] },
]

test.each(seeds)('I8: the world of seed $seed, which finds $finds', async ({ seed, finds }) => {
  for (const id of finds) expect(mutants.map((mutant) => mutant.id)).toContain(id)
  let ran = 0
  const property = fc.asyncProperty(simulatedCases, async (given) => {
    ran++
    await simulate(given)
  })
  await fc.assert(property, { seed, numRuns: 1, endOnFailure: true, includeErrorInReport: true })
  expect(ran).toBe(1)
})
