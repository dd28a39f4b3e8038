/**
 * What must hold on every edge of the walks (docs/spec.md, "Invariants"). Each check looks at one step: the chart
 * before, what was said, what the chart told its workers, and the chart after. Messages start with the id.
 */
import type { IndexerFacts } from '../../machines/facts.ts'
import { isBudgetFull, isDoomed, isEnding, mustPark } from '../../machines/facts.ts'
import type { CommitterContext, CommitterInput } from '../../machines/committer.machine.ts'
import type { CommitOutcome, IndexerOutcome } from '../../machines/outcome.ts'
import type { Edge, ModelEvent, ModelState } from './model.ts'
import type { WireWorld } from './model-committer.ts'
import type { World } from './model-indexer.ts'

export interface Lanes {
  readonly control: string
  readonly source: string
  readonly compute: string
  readonly commit: string
  readonly publish: string
}

/** `{ control: 'draining.exit', source: 'reading', … }`, or null outside `active`. */
export function lanesOf(chart: { readonly value: unknown }): Lanes | null {
  const { value } = chart
  if (typeof value === 'string' || value === null || typeof value !== 'object' || !('active' in value))
    return null
  const active = value.active as Record<string, unknown>
  return Object.fromEntries(
    Object.entries(active).map(([lane, at]) => [lane, dotted(at)]),
  ) as unknown as Lanes
}

/** `{ draining: 'exit' }` → `draining.exit` */
export function dotted(value: unknown): string {
  if (typeof value === 'string') return value
  const [[key, below] = ['', ''] as const] = Object.entries(value as Record<string, unknown>)
  return `${key}.${dotted(below)}`
}

function hold(condition: boolean, message: string): void {
  if (!condition) throw new Error(message)
}

const startsWork = new Set(['pull', 'run', 'open', 'write'])

export function checkIndexerEdge(edge: Edge<World>): void {
  const { before, event, after, step } = edge
  const was = before.chart.context as IndexerFacts
  const facts = after.chart.context as IndexerFacts
  const lanes = lanesOf(after.chart)
  const wasLanes = lanesOf(before.chart)
  const told = (type: string) => step.commands.some((command) => command.type === type)
  const spawned = (id: string) => step.spawned.find((child) => child.id === id)

  // I1
  const children = Object.keys(after.chart.children)
  hold(
    children.includes('committer') === (lanes?.commit === 'committing'),
    'I1: a committer lives exactly while committing',
  )
  hold(!(children.includes('committer') && children.includes('restorer')), 'I1: commit beside rollback')

  // I2
  const started = spawned('committer')?.input as CommitterInput | undefined
  if (started !== undefined) {
    hold(started.from === facts.committed, 'I2: a commit names another frontier than the committed one')
    hold(started.upTo === facts.processed, 'I2: a commit reaches beyond what was handled')
    hold(started.batches === facts.flightBatches, 'I2: the group is not what the facts say')
    hold(started.batches <= facts.groupLimit, 'I2: the group is larger than its limit')
  }
  hold(facts.committed <= facts.processed, 'I2: committed beyond processed')
  if (event.type !== 'xstate.done.actor.restorer') {
    hold(facts.committed >= was.committed, 'I2: the committed frontier moved back without a rollback')
  }
  if (!isEnding(facts) && after.status === 'active') {
    hold(facts.stagedBatches === after.world.staged, 'I2: staged batches miscounted')
    hold(facts.flightBatches === (after.world.committer?.batches ?? 0), 'I2: the flight is miscounted')
  }

  hold(facts.undelivered === after.world.unsettled, 'I6: snapshots that are not settled are miscounted')
  hold(
    facts.undelivered >= 0 || isEnding(facts) || after.world.committer !== null,
    'I6: more is settled than was offered',
  )

  if (lanes !== null) {
    checkFlow(edge, lanes, wasLanes, facts, was, told('pull'))
    checkRollback(after, lanes, facts, told('pull') || told('open') || started !== undefined)
  }

  checkFork(edge, was, facts)

  // I6
  if (after.chart.value === 'finished' || after.chart.value === 'stopped') {
    const { world } = after
    hold(world.staged === 0 && facts.stagedBatches === 0, 'I6: something staged is left')
    hold(world.committer === null && facts.flightBatches === 0, 'I6: something is on the wire')
    hold(world.unsettled === 0, 'I6: a committed snapshot is not settled')
    hold(!world.marksUnsaved && !facts.marksDirty, 'I6: a delivery mark is not saved')
    hold(facts.processed === facts.committed || wasLanes === null, 'I6: processed is not committed')
    hold(!facts.failed && !facts.superseded, 'I6: a bad end is called a good one')
    hold(facts.exit === 'ended' || after.chart.value === 'stopped', 'I6: finished, but not read to the end')
    hold(facts.exit === 'stop' || after.chart.value === 'finished', 'I6: stopped, but nobody asked')
  }

  // I7
  if (isEnding(facts)) {
    const starts = step.commands.find((command) => startsWork.has(command.type))
    hold(starts === undefined, `I7: ${starts?.type} after the first error`)
    hold(step.spawned.length === 0, `I7: ${step.spawned[0]?.id} starts after the first error`)
    hold(
      !(lanes?.publish === 'publishing' && wasLanes?.publish === 'idle'),
      'I7: region writes start after the first error',
    )
    hold(after.status === 'done' || lanes?.publish !== 'publishing' || isParking(after), 'I7: regions go on')
    hold(after.world.committer?.told.includes('halt') ?? true, 'I7: the commit on the wire was not halted')
    hold(after.world.restorer?.told.includes('halt') ?? true, 'I7: the rollback on the wire was not halted')
  }
  checkFirstError(edge, was, facts)

  // I11
  hold(facts.stagedBytes <= facts.limits.stagedBytes + 1, 'I11: more is staged than the budget and one batch')

  // every drain and every failure has its deadline
  if (lanes?.control.startsWith('draining')) {
    hold(
      isEnding(facts) || after.timers.some((id) => id.includes('drainDeadline')),
      'deadline: a drain without one',
    )
  }

  if (after.status === 'done') checkOutput(after, facts)
}

function isParking({ world }: ModelState<World>): boolean {
  return world.publisher !== 'free'
}

/** I3: compute waits for nothing but the budget and the frames of the commit that starts at its end. */
function checkFlow(
  { event, after }: Edge<World>,
  lanes: Lanes,
  wasLanes: Lanes | null,
  facts: IndexerFacts,
  was: IndexerFacts,
  pulls: boolean,
): void {
  const wasRunning = wasLanes?.compute.startsWith('cpu') ?? false
  if (event.type === 'batch.handled' && wasRunning && wasLanes?.commit === 'idle' && was.fork === null) {
    hold(
      lanes.compute === 'handingOver',
      'I3: a commit starts at the end of this batch, but is not handed over',
    )
    hold(lanes.commit === 'committing', 'I3: no commit starts at the end of the batch')
  }
  if (lanes.compute === 'waiting') {
    hold(isBudgetFull(facts), 'I3: compute waits with room in the budget')
    hold(lanes.commit === 'committing', 'H48: compute waits for a commit that cannot come')
  }
  if (pulls) hold(!isBudgetFull(facts), 'I11: a batch is pulled with the budget full')
  if (lanes.compute === 'handingOver') {
    hold(
      after.timers.some((id) => id.includes('handOver')),
      'I3: handing over without its 10 ms limit',
    )
  }
  if (lanes.control === 'flowing') {
    hold(!mustPark(facts), 'control flows, though something is to be ended or interrupted')
    hold(
      lanes.compute !== 'parked' && lanes.compute !== 'cancelling',
      'I3: compute rests while control flows',
    )
    hold(lanes.commit === 'committing' || facts.stagedBatches === 0, 'staged batches, and no commit')
    hold(lanes.source !== 'closed' || facts.sourcesEnded, 'sources are closed while control flows')
  }
  hold(!isDoomed(facts) || lanes.compute === 'cancelling', 'H29: a doomed batch goes on')
}

/** I5: a rollback has everything to itself. */
function checkRollback(
  after: ModelState<World>,
  lanes: Lanes,
  facts: IndexerFacts,
  startsSomething: boolean,
): void {
  if (lanes.control.startsWith('rollingBack')) {
    hold(lanes.compute === 'parked', 'I5: rolling back while compute runs')
    hold(lanes.commit === 'idle', 'I5: rolling back beside a commit')
    hold(lanes.source === 'closed', 'I5: rolling back while a source reads')
    hold(after.world.restorer !== null, 'I5: rolling back without a restorer')
  }
  if (facts.fork !== null) {
    hold(!startsSomething, 'I5: a pull, a commit or a source starts while a fork is pending')
    hold(lanes.control !== 'flowing' || isEnding(facts), 'I5: control flows with a fork pending')
    const isCalledBack = after.world.committer?.told.includes('recall') ?? true
    hold(isCalledBack || isEnding(facts), 'I5: the group was not called back')
  }
}

/** I5: the lowest pending fork is what is rolled back to, and nothing of it is left behind. */
function checkFork({ event, step }: Edge<World>, was: IndexerFacts, facts: IndexerFacts): void {
  const output = event['output'] as CommitOutcome | undefined
  if (event.type === 'source.fork') {
    const lowest = Math.min(was.fork ?? Infinity, event['target'] as number)
    hold(facts.fork === lowest, 'I5: not the lowest fork wins')
  } else if (event.type === 'xstate.done.actor.restorer' && output?.status === 'committed') {
    hold(facts.fork === null, 'I5: a fork is left after its rollback')
    hold(facts.processed <= (was.fork ?? -1), 'H21: processed stays above the fork')
    hold(!facts.sourcesEnded && facts.exit !== 'ended', 'H71: the end of a source survives a rollback')
  } else {
    hold(facts.fork === was.fork, 'I5: the fork changed by itself')
  }
  const restorer = step.spawned.find(({ id }) => id === 'restorer')?.input as CommitterInput | undefined
  if (restorer !== undefined) {
    hold(
      restorer.kind === 'rollback' && restorer.upTo === facts.fork,
      'I5: rolled back to another checkpoint',
    )
    hold(restorer.from === facts.committed, 'I2: a rollback names another frontier than the committed one')
  }
}

/** The two errors that do not fail a run: an opener told to stop, and a batch that a fork dooms. */
function isEcho(event: ModelEvent, lanes: Lanes | null, was: IndexerFacts): boolean {
  if (event.type === 'open.failed') return was.exit === 'stop'
  return event.type === 'batch.failed' && lanes?.compute === 'cancelling' && was.fork !== null
}

const errorWords = /^(abort|source\.failed|batch\.failed|open\.failed|xstate\.error\.actor\..*)$/

/** I7: the first error stays, later ones are attached. */
function checkFirstError({ before, event }: Edge<World>, was: IndexerFacts, facts: IndexerFacts): void {
  const isRequired = event.type === 'region.settled' && event['error'] !== null && facts.requireRegions
  if ((errorWords.test(event.type) || isRequired) && !facts.failed) {
    hold(isEcho(event, lanesOf(before.chart), was), `I7: ${event.type} was swallowed`)
  }
  if (was.failed) {
    hold(facts.failed && facts.error === was.error, 'I7: the first error was replaced')
    hold(facts.suppressed.length >= was.suppressed.length, 'I7: a suppressed error was dropped')
  } else if (facts.failed) {
    const output = event['output'] as CommitOutcome | undefined
    const isDeadline = event.type.startsWith('xstate.after.drainDeadline')
    hold(
      errorWords.test(event.type) || isRequired || isDeadline || output?.status === 'failed',
      `I7: ${event.type} failed the run`,
    )
    const error = output?.error ?? event['error']
    if (!isDeadline) hold(facts.error === error, 'I7: the error kept is not the one that was said')
  }
}

function checkOutput(after: ModelState<World>, facts: IndexerFacts): void {
  const output = after.output as IndexerOutcome
  hold(output.status === after.chart.value, 'the output names another end than the chart')
  hold(
    output.committed === facts.committed && output.processed === facts.processed,
    'frontiers in the output',
  )
  hold(output.status !== 'failed' || facts.failed, 'failed without an error')
  hold((output.status === 'superseded') === facts.superseded, 'superseded or not')
  hold(output.inDoubt === null || output.inDoubt.from < output.inDoubt.upTo, 'an empty doubt')
  if (after.world.computer !== 'gone')
    hold(after.world.computer === 'free' || isOpening(after), 'a batch is left')
  hold(after.world.sources === 'closed' || after.world.sources === 'gone', 'a source is left open')
  hold(after.world.committer === null && after.world.restorer === null, 'something is left on the wire')
}

function isOpening({ world }: ModelState<World>): boolean {
  return world.opener !== 'gone'
}

// ── committer ───────────────────────────────────────────────────────────────────────────────────────────────

export function checkCommitterEdge(edge: Edge<WireWorld>): void {
  const { before, event, after, step } = edge
  const was = before.chart.context as CommitterContext
  const context = after.chart.context as CommitterContext
  const { world } = after
  const writes = step.commands.filter((command) => command.type === 'write')

  for (const write of writes) {
    hold(!was.halted && !context.halted, 'I7: a write after the halt')
    hold(!was.recalled && !context.recalled, 'I5: a recalled group is sent')
    hold(
      before.world.fate !== 'open' || world.fate !== 'open' || landedWord(event.type),
      'I10: sent while in doubt',
    )
    hold(write['batches'] === context.window, 'I2: another prefix than the window is sent')
  }
  hold(context.landed === world.landed, 'I10: landed batches miscounted')
  hold(context.landed >= was.landed && context.landed <= context.batches, 'I2: landed beyond the group')
  hold(context.error !== null || was.error === null, 'I7: an error was forgotten')
  if (event.type === 'resolve.lost') {
    hold(
      context.error === (was.error ?? event['error']),
      'H36: "cannot connect" masks why the connection went',
    )
  }
  if (event.type === 'frames.flushed') {
    hold(
      step.commands.some(({ type }) => type === 'frames.flushed'),
      'I3: the parent is not told that the frames are flushed',
    )
  }

  if (after.status === 'active') {
    if (world.wire !== 'quiet' && !world.destroyed) {
      hold(
        after.timers.some((id) => id.includes('attemptDeadline')),
        `deadline: ${world.wire} without one`,
      )
    }
    hold(
      context.expired || after.timers.some((id) => id.includes('commitDeadline')),
      'deadline: retries without one',
    )
    hold(event.type !== 'cut', 'a cut is not obeyed')
    if (event.type === 'resolve.notLanded' && was.refused && was.window <= 1) {
      hold(false, 'a refusal of a single batch is retried')
    }
    return
  }

  const output = after.output as CommitOutcome
  hold(output.status === after.chart.value, 'the output names another end than the chart')
  hold(output.landed === world.landed, 'I10: the output miscounts what landed')
  if (output.status === 'committed') hold(output.landed === context.batches, 'I10: committed, but not all')
  if (output.status === 'recalled')
    hold(world.fate === 'known' && context.recalled, 'I5: recalled while in doubt')
  if (output.status === 'failed') {
    const isOpen = world.fate === 'open' && context.batches > 0
    hold((output.inDoubt !== null) === isOpen, 'I7: in doubt is said exactly when it is so')
    hold(output.error !== null || context.halted || event.type === 'cut', 'failed without a reason')
  }
  if (output.inDoubt !== null) {
    hold(output.inDoubt.from < output.inDoubt.upTo, 'an empty doubt')
  }
}

function landedWord(type: string): boolean {
  return type === 'write.landed' || type === 'resolve.landed' || type === 'resolve.notLanded'
}
