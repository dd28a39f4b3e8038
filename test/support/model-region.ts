/**
 * The world around a region: an outbox that offers it snapshots, a delivery worker that answers every `deliver` with one
 * of its words, late or never, and a parent that may halt and cut at any time. What must hold is checked edge by edge.
 */
import { regionMachine } from '../../machines/region.machine.ts'
import type { RegionFacts, RegionInput } from '../../machines/region.machine.ts'
import type { Command, Edge, Model, ModelEvent, ModelState, Step } from './model.ts'
import { dotted } from './model-invariants.ts'

export interface RegionBounds {
  /** Snapshots offered in one run, one by one or several at once. */
  readonly offers: number
  readonly attempts: number
  /** Times that one of several snapshots is there before an attempt ends. Default: none. */
  readonly parts?: number
  /** Whether the delivery worker may break its word altogether and throw. */
  readonly crashes: boolean
}

export interface DeliveryWorld {
  readonly delivery: 'quiet' | 'reading' | 'sending' | 'gone'
  /** It was cut: an answer that was said before it heard so may still come, before any timer fires. */
  readonly crossing: boolean
  readonly halted: boolean
  readonly offersLeft: number
  readonly partsLeft: number
  /** Ground truth, kept beside the chart's own facts. */
  readonly offered: number
  readonly settled: number
}

export type RegionState = ModelState<DeliveryWorld>

export function regionFacts(state: RegionState): RegionFacts {
  return state.chart.context as RegionFacts
}

/** Offered, and nothing was said of it yet. */
export function owed(state: RegionState): number {
  const { waiting, taken } = regionFacts(state)
  return waiting + taken
}

export function regionModel(bounds: RegionBounds, region = 'a'): Model<DeliveryWorld> {
  const input: RegionInput = { region, limits: { attempts: bounds.attempts, attemptMs: 1, probeMs: 1 } }
  return {
    machine: regionMachine,
    input,
    world: {
      delivery: 'quiet',
      crossing: false,
      halted: false,
      offersLeft: bounds.offers,
      partsLeft: bounds.parts ?? 0,
      offered: 0,
      settled: 0,
    },
    says: (state) => [...parentSays(state), ...deliverySays(state, bounds)],
    hears,
    key,
  }
}

function* parentSays({ world }: RegionState): Generator<ModelEvent> {
  for (let snapshots = 1; snapshots <= Math.min(2, world.offersLeft); snapshots++) {
    yield { type: 'offer', snapshots }
  }
  if (world.offersLeft > 0) yield { type: 'offer', snapshots: 1, found: true }
  yield { type: 'halt' }
  yield { type: 'cut' }
}

function* deliverySays({ world }: RegionState, { crashes }: RegionBounds): Generator<ModelEvent> {
  const { delivery, crossing } = world
  if (delivery === 'reading' || crossing) yield { type: 'delivery.sent', progress: false }
  // one of several is there, the next one is about to go
  if (world.partsLeft > 0 && (delivery === 'sending' || crossing)) {
    yield { type: 'delivery.sent', progress: true }
  }
  if (delivery === 'reading' || delivery === 'sending' || crossing) {
    yield { type: 'delivery.done' }
    yield { type: 'delivery.failed', error: 'unreachable', permanent: false, retryInMs: 1 }
    yield { type: 'delivery.failed', error: 'refused', permanent: true, retryInMs: 1 }
  }
  if (delivery !== 'gone' && crashes) yield { type: 'xstate.error.actor.delivery', error: 'delivery broke' }
}

// ── the world hears ─────────────────────────────────────────────────────────────────────────────────────────

function hears({ world: before }: RegionState, event: ModelEvent, step: Step): DeliveryWorld {
  let world = afterWord(before, event)
  for (const command of step.commands) world = afterCommand(world, command)
  return world
}

function afterWord(world: DeliveryWorld, event: ModelEvent): DeliveryWorld {
  switch (event.type) {
    case 'offer': {
      const snapshots = event['snapshots'] as number
      return { ...world, offersLeft: world.offersLeft - snapshots, offered: world.offered + snapshots }
    }
    case 'halt':
      return { ...world, halted: true }
    case 'delivery.sent': {
      const partsLeft = world.partsLeft - (event['progress'] === true ? 1 : 0)
      return world.crossing ? { ...world, partsLeft } : { ...world, partsLeft, delivery: 'sending' }
    }
    case 'delivery.done':
    case 'delivery.failed':
      return world.crossing ? { ...world, crossing: false } : { ...world, delivery: 'quiet' }
    case 'xstate.error.actor.delivery':
      return { ...world, delivery: 'gone', crossing: false }
    default:
      // whatever had been said is heard before the next turn
      return event.type.startsWith('xstate.after') ? { ...world, crossing: false } : world
  }
}

function afterCommand(world: DeliveryWorld, { type, ...facts }: Command): DeliveryWorld {
  const isBusy = world.delivery === 'reading' || world.delivery === 'sending'
  if (type === 'deliver') {
    hold(!world.halted, 'I7: a delivery starts after the halt')
    hold(world.delivery === 'quiet', `a delivery starts while the worker is ${world.delivery}`)
    hold(!world.crossing, 'a delivery starts while an answer of the last one may still come')
    return { ...world, delivery: 'reading' }
  }
  if (type === 'cut') {
    hold(isBusy, 'cut, though nothing is on the wire')
    return { ...world, delivery: 'quiet', crossing: true }
  }
  if (type === 'stop') {
    hold(isBusy && world.halted, 'I7: stopped, though nothing ends')
    return { ...world, delivery: 'quiet' }
  }
  if (type === 'region.settled') return { ...world, settled: world.settled + (facts['settled'] as number) }
  hold(type === 'region.parked', `nobody knows ${type}`)
  hold(!isBusy, 'I7: parked, and something is on the wire')
  return world
}

function hold(condition: boolean, message: string): void {
  if (!condition) throw new Error(message)
}

// ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────

const timerOf: Readonly<Record<string, string>> = {
  'persisting.sending': 'attemptDeadline',
  backingOff: 'retryIn',
  quarantined: 'probeIn',
}

export function checkRegionEdge(edge: Edge<DeliveryWorld>): void {
  const { before, event, after, step } = edge
  const { world } = after
  const facts = regionFacts(after)
  const place = dotted(after.chart.value)
  const wasPlace = dotted(before.chart.value)

  hold(after.status === 'active', 'a region came to an end')
  hold(
    world.offered === world.settled + facts.waiting + facts.taken,
    'I13: offered is not settled or counted',
  )
  hold(facts.waiting >= 0 && facts.taken >= 0, 'I13: settled twice')
  hold(facts.failures <= facts.limits.attempts, 'tried more often than it may be')

  const isBusy = world.delivery === 'reading' || world.delivery === 'sending'
  const mayBeBusy = place.startsWith('persisting') || place === 'settling'
  hold(isBusy === mayBeBusy, `${place} while the worker is ${world.delivery}`)
  hold(place !== 'idle' || facts.waiting + facts.taken === 0, 'idle with something to deliver')
  hold(place !== 'broken' || world.delivery === 'gone', 'broken, but its worker lives')
  hold(
    world.halted === (place === 'settling' || place === 'parked'),
    'I7: goes on after the halt, or parks without',
  )
  const timers = timerOf[place] === undefined ? [] : [timerOf[place]]
  hold(timers.join() === after.timers.map((id) => id.split('.')[2]).join(), `${place} with another timer`)

  checkAttempt(edge)
  checkSettled(edge)
  checkFailure(edge, place)
  if (before.world.crossing && event.type.startsWith('delivery.')) {
    hold(step.commands.length === 0 && place === wasPlace, 'what was cut is heard all the same')
  }
  if (event.type === 'offer' && wasPlace === 'quarantined') {
    const isTried = step.commands.some(({ type }) => type === 'deliver') || place === 'backingOff'
    hold(
      isTried === (regionFacts(before).permanent || event['found'] === true),
      'in quarantine: tried if another was refused or the server was found, or else settled',
    )
    hold(isTried || facts.waiting === 0, 'I13: in quarantine an offer is waited for')
  }
  const isParked = step.commands.some(({ type }) => type === 'region.parked')
  const isAsked = event.type === 'halt' || event.type === 'cut'
  hold(
    isParked || place !== 'parked' || !(isAsked || wasPlace !== 'parked'),
    'I7: parked, and does not say so',
  )
  hold(!isParked || place === 'parked', 'I7: says that it is parked, and is not')
  hold(event.type !== 'cut' || place !== 'settling', 'a cut is not obeyed')
}

/** A probe is a single try; another snapshot, where the one before was refused, has them all. */
function checkAttempt({ event, after, step }: Edge<DeliveryWorld>): void {
  const deliver = step.commands.find(({ type }) => type === 'deliver')
  if (deliver === undefined) return
  const { failures, limits } = regionFacts(after)
  hold(deliver['attempt'] === failures + 1, 'another attempt is named than this one')
  if (event.type.startsWith('xstate.after.retryIn')) return
  const isProbe = event.type.startsWith('xstate.after.probeIn')
  hold(
    deliver['attempt'] === (isProbe ? limits.attempts : 1),
    'a probe is not the last attempt, or another is',
  )
}

/** Delivered is said when it is so; anything else has its reason. */
function checkSettled({ before, event, after, step }: Edge<DeliveryWorld>): void {
  const told = step.commands.filter(({ type }) => type === 'region.settled')
  hold(told.length <= 1, 'I13: settled twice in one step')
  const isDone = event.type === 'delivery.done' && !before.world.crossing
  hold(told.some(({ delivered }) => delivered === true) === isDone, 'delivered is said exactly when it is so')
  for (const { settled, delivered, error } of told) {
    hold((settled as number) >= 0, 'I13: less than nothing is settled')
    hold((error === null) === (delivered === true), 'an error, and delivered; or none, and not')
  }
  if (isDone) {
    hold(told[0]!['settled'] === regionFacts(before).taken, 'I13: settled what the attempt did not cover')
    hold(regionFacts(after).failures === 0, 'a failure outlives a delivery')
  }
}

/** One that no retry helps is given up at once; one that may pass, after so many attempts. */
function checkFailure({ before, event, step }: Edge<DeliveryWorld>, place: string): void {
  const isLate = event.type.startsWith('xstate.after.attemptDeadline')
  const isFailed = event.type === 'delivery.failed' && !before.world.crossing && !before.world.halted
  if (!isLate && !isFailed) return
  const facts = regionFacts(before)
  const isLast = event['permanent'] === true || facts.failures + 1 >= facts.limits.attempts
  const told = step.commands.find(({ type }) => type === 'region.settled')
  hold(isLast === (told !== undefined), 'given up too early, or too late')
  hold(isLate === step.commands.some(({ type }) => type === 'cut'), 'a late attempt is cut, and no other')
  if (told === undefined) {
    hold(place === 'backingOff', 'not given up, and not tried again')
  } else {
    // what waits beside a refused one may be sound: it is tried in the same step
    const isTried = event['permanent'] === true && facts.waiting > 0
    hold(place === (isTried ? 'persisting.reading' : 'quarantined'), 'given up, and not in quarantine')
    hold(
      told['settled'] === facts.taken + (event['permanent'] === true ? 0 : facts.waiting),
      'I13: given up, and not settled',
    )
  }
}

function key(state: RegionState): string {
  const { chart, world } = state
  const { waiting, taken, failures, permanent, error } = regionFacts(state)
  const facts = [waiting, taken, failures, permanent, error !== null]
  const { delivery, crossing, halted, offersLeft, partsLeft } = world
  return JSON.stringify([chart.value, facts, delivery, crossing, halted, offersLeft, partsLeft])
}
