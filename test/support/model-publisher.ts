/**
 * The world around a publisher: an outbox that offers snapshots of two regions, an indexer that may halt and cut, and
 * the regions themselves, the real machine each with a delivery worker of its own (model-region.ts). What actors say to
 * each other is heard in the order in which it was said, before anything else happens.
 */
import { actorOf, publisherMachine } from '../../machines/publisher.machine.ts'
import type { PublisherFacts } from '../../machines/publisher.machine.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import { begin, createStepper, eventsOf, follow } from './model.ts'
import type { Command, Edge, Model, ModelEvent, ModelState, Step } from './model.ts'
import { checkRegionEdge, owed, regionModel } from './model-region.ts'
import type { RegionBounds, RegionState } from './model-region.ts'

export const regionNames = ['a', 'b'] as const
export type RegionName = (typeof regionNames)[number]

export interface PublisherBounds {
  readonly attempts: number
  readonly regions: Readonly<Record<RegionName, Omit<RegionBounds, 'attempts'>>>
}

export interface PublisherWorld {
  /** Absent until its first snapshot is offered. */
  readonly regions: Readonly<Partial<Record<RegionName, RegionState>>>
  /** Said by the regions, and not yet heard. */
  readonly mailbox: readonly ModelEvent[]
  readonly halted: boolean
  readonly cut: boolean
  /** A halt or a cut is not answered yet. */
  readonly asked: boolean
}

export type PublisherState = ModelState<PublisherWorld>

/** As `sendParent` addresses it. */
const parent = '#_parent'
const stepper = createStepper(regionMachine)

export function publisherModel(bounds: PublisherBounds): Model<PublisherWorld> {
  const { attempts } = bounds
  const models = Object.fromEntries(
    regionNames.map((name) => [name, regionModel({ ...bounds.regions[name], attempts }, name)]),
  ) as Models
  return {
    machine: publisherMachine,
    input: { limits: { attempts, attemptMs: 1, probeMs: 1 } },
    world: { regions: {}, mailbox: [], halted: false, cut: false, asked: false },
    says: (state) => [...says(state, models, bounds)],
    hears: (before, event, step) => hears(before.world, event, step, models),
    key: (state) => key(state, models),
  }
}

type Models = Readonly<Record<RegionName, ReturnType<typeof regionModel>>>

/** What is said to a region, and not to the publisher: `a/delivery.done`. */
export function regionWord(event: ModelEvent): { readonly name: RegionName; readonly word: string } | null {
  const [name, word] = event.type.split('/')
  return word === undefined ? null : { name: name as RegionName, word }
}

function* says({ world }: PublisherState, models: Models, bounds: PublisherBounds): Generator<ModelEvent> {
  const [next] = world.mailbox
  if (next !== undefined) {
    yield next
    return
  }
  // the outbox may have said it before it heard the halt
  for (const region of regionNames) {
    if ((world.regions[region]?.world.offersLeft ?? bounds.regions[region].offers) > 0) {
      yield { type: 'region.offered', region, snapshots: 1 }
    }
  }
  yield { type: 'publish.offered', snapshots: 1 }
  yield { type: 'outbox.looked', snapshots: 1 }
  yield { type: 'halt' }
  if (world.halted) yield { type: 'cut' }
  for (const name of regionNames) {
    const region = world.regions[name]
    if (region === undefined) continue
    for (const event of eventsOf(models[name], region)) {
      if (isOfDelivery(event)) yield { ...event, type: `${name}/${event.type}` }
    }
  }
}

/** The rest is said by the publisher. */
function isOfDelivery({ type }: ModelEvent): boolean {
  return type.startsWith('delivery.') || type.startsWith('xstate.')
}

// ── the world hears ─────────────────────────────────────────────────────────────────────────────────────────

function hears(before: PublisherWorld, event: ModelEvent, step: Step, models: Models): PublisherWorld {
  const to = regionWord(event)
  if (to !== null) return tell(before, to.name, { ...event, type: to.word }, models)
  const isAsking = event.type === 'halt' || event.type === 'cut'
  let world: PublisherWorld = {
    ...before,
    mailbox: event === before.mailbox[0] ? before.mailbox.slice(1) : before.mailbox,
    halted: before.halted || event.type === 'halt',
    cut: before.cut || event.type === 'cut',
    asked: before.asked || isAsking,
  }
  for (const { id, input } of step.spawned) {
    hold(!before.halted, 'I7: a region starts after the halt')
    const name = nameOf(id)
    hold(world.regions[name] === undefined, `a second actor for ${name}`)
    hold(JSON.stringify(input) === JSON.stringify(models[name].input), `${name} starts with other limits`)
    world = { ...world, regions: { ...world.regions, [name]: begin(models[name], stepper).first } }
  }
  for (const command of step.commands) world = afterCommand(world, command, models)
  return world
}

function afterCommand(world: PublisherWorld, { to, ...word }: Command, models: Models): PublisherWorld {
  if (to === 'outbox') {
    hold(word.type === 'halt', `the outbox does not know ${word.type}`)
    return world
  }
  if (to !== parent) return tell(world, nameOf(to), word, models)
  if (word.type !== 'publish.parked') return world
  for (const region of Object.values(world.regions)) {
    hold(isParkedRegion(region), 'I7: says that all are parked, and one is not')
  }
  return { ...world, asked: false }
}

/** A region takes one step; what it says goes into the publisher's mailbox. */
function tell(world: PublisherWorld, name: RegionName, event: ModelEvent, models: Models): PublisherWorld {
  const before = world.regions[name]
  if (before === undefined) throw new Error(`${event.type} to ${name}, which has no actor`)
  const { after, step } = follow(models[name], stepper, before, event)
  checkRegionEdge({ before, event, after, step })
  const said = step.commands
    .filter(({ type }) => type.startsWith('region.'))
    .map(({ to: _parent, ...word }) => word as ModelEvent)
  return {
    ...world,
    regions: { ...world.regions, [name]: after },
    mailbox: [...world.mailbox, ...said],
  }
}

function nameOf(actor: string): RegionName {
  const name = regionNames.find((each) => actorOf(each) === actor)
  if (name === undefined) throw new Error(`nobody is called ${actor}`)
  return name
}

export function isParkedRegion(region: RegionState): boolean {
  return region.chart.value === 'parked'
}

function hold(condition: boolean, message: string): void {
  if (!condition) throw new Error(message)
}

// ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────

export function checkPublisherEdge({ before, event, after, step }: Edge<PublisherWorld>): void {
  const { world, chart } = after
  const facts = chart.context as PublisherFacts
  const regions = Object.entries(world.regions)
  hold(after.status === 'active', 'a publisher came to an end')
  hold(
    facts.regions.toSorted().join() ===
      regions
        .map(([name]) => name)
        .toSorted()
        .join(),
    'an actor is lost',
  )
  hold((chart.value === 'open') === !world.halted, 'I7: open after the halt, or not open without')

  const said = step.commands.filter(({ to }) => to === parent)
  const isHeard = event.type === 'region.settled' || (!before.world.halted && isOffer(event))
  // each once, with its numbers: nothing is settled twice and nothing is lost on the way up
  hold(
    said.filter(({ type }) => type !== 'publish.parked').length === (isHeard ? 1 : 0),
    'I13: not passed on',
  )
  if (event.type === 'region.settled') {
    hold(said[0]!['settled'] === event['settled'], 'I13: settled other than it was said')
  }
  if (event.type === 'outbox.looked' && isHeard) {
    hold(said[0]!.type === 'region.settled' && said[0]!['settled'] === 1, 'I13: a look is not settled')
  }

  const isQuiet = world.mailbox.length === 0
  const allParked = Object.values(world.regions).every(isParkedRegion)
  hold(chart.value !== 'parked' || allParked, 'I7: parked before its regions')
  hold(
    !world.halted || !isQuiet || (chart.value === 'parked') === allParked,
    'I7: not parked with its regions',
  )
  hold(!isQuiet || !allParked || !world.asked, 'a halt or a cut is not answered')
  for (const [name, region] of regions) {
    const was = before.world.regions[name as RegionName]
    if (was === undefined || was === region) continue
    // I13: a word of one region moves no other
    hold(regionWord(event) === null || regionWord(event)!.name === name, `I13: ${name} is moved by another`)
  }
}

function isOffer({ type }: ModelEvent): boolean {
  return type === 'publish.offered' || type === 'outbox.looked'
}

function key({ chart, world }: PublisherState, models: Models): string {
  const regions = regionNames.map((name) => {
    const region = world.regions[name]
    return region === undefined ? null : models[name].key(region)
  })
  const { unparked } = chart.context as PublisherFacts
  const mailbox = world.mailbox.map(({ type, region, settled }) => [type, region, settled])
  return JSON.stringify([chart.value, unparked.toSorted(), regions, mailbox, world.cut, world.asked])
}

/** What a region was offered and nothing was said of yet, by the publisher. */
export function owedTo(state: PublisherState, name: RegionName): number {
  const region = state.world.regions[name]
  if (region === undefined) return 0
  const underway = state.world.mailbox.filter((word) => word['region'] === name)
  return owed(region) + underway.length
}
