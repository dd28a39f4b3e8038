/** A seeded source of chance, as a function: what tests, and the rigs of the soaks, draw from. */
import { Seeded } from '../../src/testing/seeded.ts'

/** From 0 up to, and without, 1. */
export type Dice = () => number

export function dice(seed: number): Dice {
  const seeded = new Seeded(seed)
  return () => seeded.next()
}
