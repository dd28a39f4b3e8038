/**
 * Every schedule of a small world, one after the other: at each quiet moment the world says what could happen next, the
 * explorer picks one, and starts again from scratch for the next pick. Complete for what the choices cover.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

export interface Choice {
  readonly label: string
  fire(): void
}

export interface World {
  /** What could happen next, in a stable order. Asked only when nothing moves any more. */
  choices(): readonly Choice[]
  /** Grows with everything that happens; unchanged means quiet. */
  activity(): number
  isDone(): boolean
}

export interface Schedule {
  /** Index picked at each decision, and how many there were to pick from. */
  readonly picks: readonly number[]
  readonly widths: readonly number[]
  readonly trace: readonly string[]
}

/** Turns of the event loop without any activity after which the world counts as quiet. */
const quietTurns = 3
/** A schedule longer than this is a world that never ends. */
const longestSchedule = 500

/** Runs the world under one schedule: the given picks, then always the first choice. */
export async function runSchedule(world: World, picks: readonly number[]): Promise<Schedule> {
  const taken: number[] = []
  const widths: number[] = []
  const trace: string[] = []
  for (;;) {
    await quiet(world)
    if (world.isDone()) return { picks: taken, widths, trace }
    const choices = world.choices()
    if (choices.length === 0) throw new Error(`stuck after: ${trace.join(', ')}`)
    if (trace.length >= longestSchedule) throw new Error(`endless: ${trace.slice(-20).join(', ')}`)
    const pick = picks[taken.length] ?? 0
    const choice = choices[pick]
    if (choice === undefined) throw new Error(`pick ${pick} of ${choices.length} after: ${trace.join(', ')}`)
    taken.push(pick)
    widths.push(choices.length)
    trace.push(choice.label)
    choice.fire()
  }
}

/** The schedule after this one in depth-first order; undefined when it was the last. */
export function nextPicks({ picks, widths }: Schedule): readonly number[] | undefined {
  for (let at = picks.length - 1; at >= 0; at--) {
    if (picks[at]! + 1 < widths[at]!) return [...picks.slice(0, at), picks[at]! + 1]
  }
  return undefined
}

async function quiet(world: World): Promise<void> {
  let seen = world.activity()
  for (let turns = 0; turns < quietTurns; turns++) {
    await nextTurn()
    const now = world.activity()
    if (now !== seen) turns = -1
    seen = now
  }
}
