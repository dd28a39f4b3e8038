/**
 * Walking a chart together with its world. The world is what the workers, the host and the clock may say next;
 * it hears every command of the chart, so that no impossible word is tried and every word out of turn is seen.
 * One model state is (chart snapshot, armed timers, world); `getAdjacencyMap` of `xstate/graph` visits them all.
 */
import { createActor, createEmptyActor } from 'xstate'
import type { AnyActorRef, AnyMachineSnapshot, AnyStateMachine, AnyTransitionDefinition } from 'xstate'
import { getAdjacencyMap } from 'xstate/graph'

export interface ModelEvent {
  readonly type: string
  readonly [fact: string]: unknown
}

/** One word of the chart to a worker. */
export interface Command {
  readonly to: string
  readonly type: string
  readonly [fact: string]: unknown
}

/** Everything one event did to the chart. */
export interface Step {
  readonly chart: AnyMachineSnapshot
  readonly commands: readonly Command[]
  readonly spawned: readonly { readonly id: string; readonly input: unknown }[]
  readonly armed: readonly string[]
  readonly cancelled: readonly string[]
  /** Transition definitions taken, microstep by microstep. */
  readonly taken: readonly AnyTransitionDefinition[]
}

export interface Stepper {
  start(input: unknown): Step
  step(chart: AnyMachineSnapshot, event: ModelEvent): Step
}

const nothing = { commands: [], spawned: [], armed: [], cancelled: [], taken: [] }

/** Pure steps of a real machine: nothing is executed, everything that would be is written down. */
export function createStepper(machine: AnyStateMachine): Stepper {
  const parent = createEmptyActor()
  const self = createActor(machine, { parent, input: {} } as never) as AnyActorRef
  let actions: { type: string; params: unknown }[] = []
  let taken: AnyTransitionDefinition[] = []
  const scope = {
    self,
    id: machine.id,
    sessionId: '',
    logger: () => undefined,
    defer: () => undefined,
    stopChild: () => undefined,
    emit: () => undefined,
    system: self.system,
    actionExecutor: (action: { type: string; params: unknown }) => {
      actions.push(action)
    },
  }
  self.system.inspect((inspected: { type: string; _transitions?: AnyTransitionDefinition[] }) => {
    if (inspected.type === '@xstate.microstep') taken.push(...(inspected._transitions ?? []))
  })
  const record = (run: () => AnyMachineSnapshot): Step => {
    actions = []
    taken = []
    const chart = run()
    return { chart, taken, ...readActions(actions) }
  }
  return {
    start: (input) => record(() => machine.getInitialSnapshot(scope as never, input) as AnyMachineSnapshot),
    step: (chart, event) => {
      // an ignored word changes nothing; an error that nobody handles breaks the machine, so it must be tried
      const isHandled = machine.getTransitionData(chart as never, event).length > 0
      if (!isHandled && !event.type.startsWith('xstate.error.')) return { chart, ...nothing }
      return record(() => machine.transition(chart, event, scope as never))
    },
  }
}

function readActions(actions: readonly { type: string; params: unknown }[]): Omit<Step, 'chart' | 'taken'> {
  const commands: Command[] = []
  const spawned: { id: string; input: unknown }[] = []
  const armed: string[] = []
  const cancelled: string[] = []
  for (const { type, params } of actions) {
    if (type === 'xstate.sendTo') {
      const { targetId, event } = params as { targetId: string; event: ModelEvent }
      commands.push({ ...event, to: targetId })
    } else if (type === 'xstate.spawnChild') {
      spawned.push(params as { id: string; input: unknown })
    } else if (type === 'xstate.raise') {
      armed.push((params as { id: string }).id)
    } else if (type === 'xstate.cancel') {
      const { sendId } = params as { sendId: string }
      cancelled.push(sendId)
      // entered and left in one step
      if (armed.includes(sendId)) armed.splice(armed.indexOf(sendId), 1)
    }
  }
  return { commands, spawned, armed, cancelled }
}

export interface ModelState<W> {
  readonly status: 'active' | 'done' | 'error' | 'stopped'
  readonly output: unknown
  readonly error: unknown
  readonly chart: AnyMachineSnapshot
  readonly timers: readonly string[]
  readonly world: W
}

export interface Edge<W> {
  readonly before: ModelState<W>
  readonly event: ModelEvent
  readonly after: ModelState<W>
  readonly step: Step
}

export interface Model<W> {
  readonly machine: AnyStateMachine
  readonly input: unknown
  readonly world: W
  /** What may be said in this state; timers that are armed are added by the walk. */
  says(state: ModelState<W>): readonly ModelEvent[]
  /** Whether an armed timer may fire in this state. Without it: always. */
  fires?(state: ModelState<W>, timer: string): boolean
  /** The world after `event` was said and the chart's answer `step` was heard. Throws on a word out of turn. */
  hears(before: ModelState<W>, event: ModelEvent, step: Step): W
  /** The abstraction: states with the same key are one. */
  key(state: ModelState<W>): string
}

export interface Way {
  readonly from: string
  readonly to: string
  readonly event: ModelEvent
}

export interface Walk<W> {
  readonly states: ReadonlyMap<string, ModelState<W>>
  readonly ways: readonly Way[]
  /** Ways out of each state. */
  readonly leaving: ReadonlyMap<string, readonly Way[]>
  /** Every transition definition that was taken. */
  readonly taken: ReadonlySet<AnyTransitionDefinition>
  readonly initial: Step
  /** The shortest way to a state; each `from` is the state of that key in `states`. */
  waysTo(key: string): Way[]
  /** The same, for messages. */
  pathTo(key: string): string
}

/** Where chart and world begin. */
export function begin<W>(
  model: Model<W>,
  stepper: Stepper,
): { readonly first: ModelState<W>; readonly initial: Step } {
  const initial = stepper.start(model.input)
  const first: ModelState<W> = {
    status: initial.chart.status,
    output: undefined,
    error: undefined,
    chart: initial.chart,
    timers: [...initial.armed].sort(),
    world: model.world,
  }
  return { first, initial }
}

/** Everything that may happen next: what is said, and the timers. */
export function eventsOf<W>(model: Model<W>, state: ModelState<W>): readonly ModelEvent[] {
  if (state.status !== 'active') return []
  const timers =
    model.fires === undefined ? state.timers : state.timers.filter((timer) => model.fires!(state, timer))
  return [...model.says(state), ...timers.map((type) => ({ type }))]
}

/** One event in chart and world. @throws on a word out of turn */
export function follow<W>(
  model: Model<W>,
  stepper: Stepper,
  before: ModelState<W>,
  event: ModelEvent,
): { readonly after: ModelState<W>; readonly step: Step } {
  const step = stepper.step(before.chart, event)
  if (step.chart.status === 'error') throw new Error(`the machine broke: ${String(step.chart.error)}`)
  const after: ModelState<W> = {
    status: step.chart.status,
    output: step.chart.output,
    error: step.chart.error,
    chart: step.chart,
    timers: step.chart.status === 'active' ? timersAfter(before.timers, event, step) : [],
    world: model.hears(before, event, step),
  }
  return { after, step }
}

/** Visits every reachable state of chart and world, and checks every edge as it is drawn. */
export function walk<W>(model: Model<W>, checkEdge: (edge: Edge<W>) => void = () => undefined): Walk<W> {
  const stepper = createStepper(model.machine)
  const { first, initial } = begin(model, stepper)
  const keys = new WeakMap<ModelState<W>, string>()
  const keyOf = (state: ModelState<W>): string => {
    let key = keys.get(state)
    if (key === undefined) keys.set(state, (key = model.key(state)))
    return key
  }
  const states = new Map([[keyOf(first), first]])
  const foundBy = new Map<string, Way>()
  const leaving = new Map<string, Way[]>()
  const taken = new Set<AnyTransitionDefinition>(initial.taken)

  const waysTo = (key: string): Way[] => {
    const path: Way[] = []
    for (let way = foundBy.get(key); way !== undefined; way = foundBy.get(way.from)) path.unshift(way)
    return path
  }
  const pathTo = (key: string): string => describePath(waysTo(key))

  const draw = (before: ModelState<W>, event: ModelEvent): ModelState<W> => {
    const from = keyOf(before)
    try {
      const { after, step } = follow(model, stepper, before, event)
      checkEdge({ before, event, after, step })
      for (const definition of step.taken) taken.add(definition)
      const to = keyOf(after)
      const known = states.get(to)
      const way = { from, to, event }
      const out = leaving.get(from)
      if (out === undefined) leaving.set(from, [way])
      else out.push(way)
      if (known !== undefined) return known
      states.set(to, after)
      foundBy.set(to, way)
      return after
    } catch (error) {
      const path = `${pathTo(from)} → ${describeEvent(event)}`
      throw new Error(`${(error as Error).message}\nafter: ${path}`, { cause: error })
    }
  }

  let ways = 0
  const logic = {
    transition: (state: ModelState<W>, event: ModelEvent) => draw(state, event),
    getInitialSnapshot: () => first,
    getPersistedSnapshot: (state: ModelState<W>) => state,
  }
  getAdjacencyMap(
    logic as never,
    {
      fromState: first,
      serializeState: keyOf,
      // only has to tell the events of one state apart
      serializeEvent: () => String(ways++),
      events: (state: ModelState<W>) => eventsOf(model, state),
      filterEvents: (state: ModelState<W>) => state.status === 'active',
    } as never,
  )
  return { states, ways: [...leaving.values()].flat(), leaving, taken, initial, waysTo, pathTo }
}

function timersAfter(timers: readonly string[], fired: ModelEvent, step: Step): readonly string[] {
  if (!timers.includes(fired.type) && step.armed.length === 0 && step.cancelled.length === 0) return timers
  const left = new Set(timers)
  left.delete(fired.type)
  for (const id of step.cancelled) left.delete(id)
  for (const id of step.armed) left.add(id)
  return [...left].sort()
}

export function describePath(path: readonly Way[]): string {
  return path.map(({ event }) => describeEvent(event)).join(' → ')
}

export function describeEvent(event: ModelEvent): string {
  const { type, ...facts } = event
  const output = facts['output'] as { status?: string } | undefined
  if (output?.status !== undefined) return `${type}(${output.status})`
  return Object.keys(facts).length === 0 ? type : `${type}${JSON.stringify(facts)}`
}

/** Keys from which no state in `goals` can be reached. */
export function cannotReach<W>(walked: Walk<W>, isGoal: (state: ModelState<W>) => boolean): string[] {
  const entering = new Map<string, string[]>()
  for (const { from, to } of walked.ways) {
    const list = entering.get(to)
    if (list === undefined) entering.set(to, [from])
    else list.push(from)
  }
  const reached = new Set<string>()
  const queue = [...walked.states].filter(([, state]) => isGoal(state)).map(([key]) => key)
  while (queue.length > 0) {
    const key = queue.pop()!
    if (reached.has(key)) continue
    reached.add(key)
    queue.push(...(entering.get(key) ?? []))
  }
  return [...walked.states.keys()].filter((key) => !reached.has(key))
}

/**
 * Follows only the ways that `isAnswer` keeps, from every state that `isStart` names. Returns what stops a run
 * from ending: a state with no answer left that is not final, or a circle of answers.
 */
export function stuckAmong<W>(
  walked: Walk<W>,
  isStart: (state: ModelState<W>) => boolean,
  isAnswer: (way: Way) => boolean,
): { readonly starts: number; readonly stuck: string | null } {
  const done = new Set<string>()
  const open = new Set<string>()
  let starts = 0
  for (const [start, state] of walked.states) {
    if (state.status !== 'active' || !isStart(state)) continue
    starts++
    if (done.has(start)) continue
    const stack: { key: string; next: string[] }[] = []
    const enter = (key: string): string | null => {
      if (walked.states.get(key)!.status !== 'active') {
        done.add(key)
        return null
      }
      const next = (walked.leaving.get(key) ?? [])
        .filter((way) => way.to !== key && isAnswer(way))
        .map((way) => way.to)
      if (next.length === 0) return `nothing left to answer at ${key}\nafter: ${walked.pathTo(key)}`
      open.add(key)
      stack.push({ key, next })
      return null
    }
    let stuck = enter(start)
    while (stuck === null && stack.length > 0) {
      const top = stack.at(-1)!
      const key = top.next.pop()
      if (key === undefined) {
        stack.pop()
        open.delete(top.key)
        done.add(top.key)
      } else if (open.has(key)) {
        stuck = `answers go round in a circle at ${key}\nafter: ${walked.pathTo(key)}`
      } else if (!done.has(key)) {
        stuck = enter(key)
      }
    }
    if (stuck !== null) return { starts, stuck }
  }
  return { starts, stuck: null }
}

/** The same walk, in which a state that is a goal counts as an end. */
export function endingAt<W>(walked: Walk<W>, isGoal: (state: ModelState<W>) => boolean): Walk<W> {
  const states = [...walked.states].map(
    ([key, state]) => [key, isGoal(state) ? { ...state, status: 'done' as const } : state] as const,
  )
  return { ...walked, states: new Map(states) }
}

// ── what a machine consists of ──────────────────────────────────────────────────────────────────────────────

type StateNode = AnyStateMachine['root']

/** Every state node below the root, in document order. */
export function stateNodes(machine: AnyStateMachine): StateNode[] {
  const below = (node: StateNode): StateNode[] =>
    Object.values(node.states as Record<string, StateNode>).flatMap((child) => [child, ...below(child)])
  return below(machine.root)
}

/** Every transition definition of a machine, `always` and `after` included; initial transitions are not. */
export function transitionDefinitions(machine: AnyStateMachine): AnyTransitionDefinition[] {
  return [machine.root, ...stateNodes(machine)].flatMap((node) => [
    ...[...(node.transitions as Map<string, AnyTransitionDefinition[]>).values()].flat(),
    ...((node.always ?? []) as AnyTransitionDefinition[]),
  ])
}

/** `pulling —batch.pulled→ cpu`, with its place among the branches of the same event. */
export function describeTransition(definition: AnyTransitionDefinition): string {
  const { source } = definition
  const event = definition.eventType === '' ? 'always' : shortEvent(definition.eventType)
  const branches: AnyTransitionDefinition[] =
    definition.eventType === '' ? (source.always ?? []) : source.transitions.get(definition.eventType)!
  const branch = branches.length > 1 ? `[${branches.indexOf(definition) + 1}]` : ''
  const target = definition.target?.map((node) => node.id).join(', ') ?? '·'
  return `${source.id} ─ ${event}${branch} → ${target}`
}

/** `xstate.after.handOver.indexer.active.compute.handingOver` → `after handOver`, and the like. */
export function shortEvent(type: string): string {
  const after = /^xstate\.after\.([^.]+)\./.exec(type)
  if (after !== null) return `after ${after[1]}`
  const actor = /^xstate\.(done|error)\.actor\.(.+)$/.exec(type)
  return actor === null ? type : `${actor[1]}(${actor[2]})`
}
