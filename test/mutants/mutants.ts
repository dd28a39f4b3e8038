/** All deliberate faults, by what they are about. `npm run mutants` tries them; docs/mutants.md tells who kills each. */
import { commitMutants } from './commit.ts'
import { ownershipMutants } from './ownership.ts'
import { lanesMutants } from './lanes.ts'
import { stagingMutants } from './staging.ts'
import { historyMutants } from './history.ts'
import { forksMutants } from './forks.ts'
import { regionsMutants } from './regions.ts'
import type { Mutant } from './mutant.ts'

export const mutants: readonly Mutant[] = [
  ...commitMutants,
  ...ownershipMutants,
  ...lanesMutants,
  ...stagingMutants,
  ...historyMutants,
  ...forksMutants,
  ...regionsMutants,
]
