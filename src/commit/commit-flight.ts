/**
 * What a commit says, in this order: the epoch check, the history's triggers if they have to come or go, rows per slice
 * and table, cursors, positions, what is pruned, and last the fence.
 */
import type { BlockRef } from '../block.ts'
import type { Group, RegionMark } from '../staging/batch.ts'
import type { TableModel } from '../staging/table.ts'
import { halves, setCheckpoint, setHalf, type Half, type HistoryPlan } from './history.ts'
import { noImages, type Newest, type ReadyHistory } from './history-install.ts'
import type { Deliver } from '../staging/snapshots.ts'
import * as plans from './plans.ts'
import * as regionPlans from './region-plans.ts'
import type { Statements } from './statements.ts'
import { writeTable, type TablePlan } from './table-statements.ts'
import { int8ArrayParameter, int8Parameter, textArrayParameter, textParameter } from './wire/frames.ts'

/** What of the database a session believes in; it changes only with what has landed. */
export interface Standing {
  readonly commitNumber: number
  /** A rollback can go back to here. */
  readonly restorableFrom: number
  /** Triggers feed the history; undefined: not of every table, so that they have to be made or dropped in any case. */
  readonly armed: boolean | undefined
  /** Up to here positions are pruned. */
  readonly prunedTo: number
  readonly images: Images
}

/** Where images go, and what each half of the history holds. */
interface Images {
  readonly half: Half
  readonly newest: Newest
  /** Rows written since the half's turn began; the two change turns no more often than this is worth it. */
  readonly rows: number
}

/** So many rows a half takes at least; emptying the other costs a few milliseconds. */
const turnRows = 20_000

export function standingAt(commitNumber: number, { armed, newest, restorableFrom }: ReadyHistory): Standing {
  const half = newest.b > newest.a ? 'b' : 'a'
  // how many rows it holds is not known: let its turn end at the next chance
  const rows = newest[half] === 0 ? 0 : turnRows
  return { commitNumber, restorableFrom, armed, prunedTo: -1, images: { half, newest, rows } }
}

export interface FlightParts {
  readonly pipeline: string
  readonly epoch: number
  readonly incarnation: number
  /** The connection takes COPY in the middle of a flight; a pooler may lose track of it. */
  readonly copies: boolean
  /** Undefined: nothing is published. */
  readonly deliver: Deliver | undefined
  readonly tables: ReadonlyMap<TableModel, TablePlan>
  readonly history: readonly HistoryPlan[]
}

/** @returns where the session stands once it has landed */
export function writeCommit(
  statements: Statements,
  parts: FlightParts,
  standing: Standing,
  group: Group,
): Standing {
  const { pipeline, epoch, history } = parts
  const name = textParameter(pipeline)
  const { upTo, safe } = group
  const restorableFrom = Math.max(standing.restorableFrom, Math.min(safe ?? upTo, upTo))
  const armed = keepsHistory(group)
  statements.add(plans.beginFlight, [name, int8Parameter(epoch)])
  if (armed !== standing.armed) {
    for (const { arm, disarm } of history) for (const sql of armed ? arm : disarm) statements.add(sql)
  }
  const images = armed
    ? writeTurn(statements, history, standing.images, group)
    : emptied(statements, history, standing)
  writeSlices(statements, parts, group)
  statements.add(plans.writeCursors, [name, ...positionColumns(group.cursors)])
  if (group.positions.length > 0) {
    statements.add(plans.writeCheckpoints, [name, ...positionColumns(group.positions)])
  }
  writeMarks(statements, parts, group.marks)
  writeSnapshots(statements, parts, standing, group)
  let { prunedTo } = standing
  if (safe !== undefined && safe > prunedTo) {
    statements.add(plans.pruneCheckpoints, [name, int8Parameter(safe)])
    prunedTo = safe
  }
  if (parts.deliver !== undefined && (group.snapshots.length > 0 || prunedTo > standing.prunedTo)) {
    statements.add(regionPlans.pruneSnapshots[parts.deliver], [name, int8Parameter(restorableFrom)])
  }
  statements.add(plans.fence, [
    name,
    ...[epoch, standing.commitNumber, upTo, upTo, restorableFrom].map(int8Parameter),
  ])
  return { commitNumber: standing.commitNumber + 1, restorableFrom, armed, prunedTo, images }
}

/** Marks alone, at the end of a run: the frontier and everything else stays where it is. */
export function writeMarksOnly(
  statements: Statements,
  parts: FlightParts,
  standing: Standing,
  { upTo, marks }: Group,
): Standing {
  const name = textParameter(parts.pipeline)
  statements.add(plans.beginFlight, [name, int8Parameter(parts.epoch)])
  writeMarks(statements, parts, marks)
  statements.add(plans.fence, [
    name,
    ...[parts.epoch, standing.commitNumber, upTo, upTo, standing.restorableFrom].map(int8Parameter),
  ])
  return { ...standing, commitNumber: standing.commitNumber + 1 }
}

function writeMarks(statements: Statements, { pipeline }: FlightParts, marks: readonly RegionMark[]): void {
  if (marks.length === 0) return
  statements.add(regionPlans.markDelivered, [
    textParameter(pipeline),
    textArrayParameter(marks.map(({ region }) => region)),
    ...(['checkpoint', 'seq', 'commit'] as const).map((fact) =>
      int8ArrayParameter(marks.map((mark) => mark[fact])),
    ),
  ])
}

function writeSnapshots(
  statements: Statements,
  { pipeline, epoch, incarnation }: FlightParts,
  { commitNumber }: Standing,
  { snapshots }: Group,
): void {
  if (snapshots.length === 0) return
  statements.add(regionPlans.writeSnapshots, [
    textParameter(pipeline),
    int8Parameter(epoch),
    int8Parameter(commitNumber + 1),
    textArrayParameter(snapshots.map(({ region }) => region)),
    int8ArrayParameter(snapshots.map(({ checkpoint }) => checkpoint)),
    int8ArrayParameter(snapshots.map(({ seq }) => seq)),
    // checkpoints are never used twice in one life of a pipeline
    textArrayParameter(snapshots.map(({ checkpoint, seq }) => `${incarnation}-${checkpoint}-${seq}`)),
    textArrayParameter(snapshots.map(({ body }) => body)),
  ])
}

/** Something in the group can still be taken back; a group of empty blocks, too, so that triggers do not come and go. */
function keepsHistory({ slices, safe, upTo }: Group): boolean {
  return slices.some(({ checkpoint }) => checkpoint !== null) || (safe !== undefined && upTo > safe)
}

/** Whose turn it is: the other half's, once nothing of it is needed any more. */
function writeTurn(
  statements: Statements,
  history: readonly HistoryPlan[],
  images: Images,
  { safe, upTo, rows }: Group,
): Images {
  const other = images.half === 'a' ? 'b' : 'a'
  const turns = images.rows >= turnRows && images.newest[other] <= safe!
  if (turns && images.newest[other] > 0) for (const { empty } of history) statements.add(empty[other])
  const half = turns ? other : images.half
  statements.add(setHalf, [textParameter(half)])
  return { half, newest: { ...images.newest, [half]: upTo }, rows: (turns ? 0 : images.rows) + rows }
}

/** A backfill keeps no images, and needs none of those that are left. */
function emptied(
  statements: Statements,
  history: readonly HistoryPlan[],
  { images, armed }: Standing,
): Images {
  if (armed === false) return images
  for (const half of halves) {
    if (images.newest[half] > 0) for (const { empty } of history) statements.add(empty[half])
  }
  return { half: 'a', newest: noImages, rows: 0 }
}

function writeSlices(statements: Statements, { tables, copies }: FlightParts, { slices }: Group): void {
  let told: number | null = null
  for (const { checkpoint, tables: changed } of slices) {
    if (checkpoint !== told) {
      statements.add(setCheckpoint, [textParameter(checkpoint === null ? '' : String(checkpoint))])
      told = checkpoint
    }
    for (const table of changed) writeTable(statements, tables.get(table.model)!, table, copies)
  }
}

/**
 * What a rollback says: the epoch check, every table back to the target, cursors and positions, the fence. The counter
 * of checkpoints stays (I12).
 */
export function writeRestore(
  statements: Statements,
  { pipeline, epoch, history }: FlightParts,
  standing: Standing,
  target: number,
): Standing {
  const name = textParameter(pipeline)
  const to = int8Parameter(target)
  statements.add(plans.beginFlight, [name, int8Parameter(epoch)])
  for (const { restore } of history) for (const sql of restore) statements.add(sql, [to])
  for (const { forget } of history) for (const sql of forget) statements.add(sql, [to])
  for (const sql of plans.restoreCursors) statements.add(sql, [name, to])
  statements.add(regionPlans.restoreSnapshots, [
    name,
    to,
    int8Parameter(epoch),
    int8Parameter(standing.commitNumber + 1),
  ])
  statements.add(plans.fence, [
    name,
    ...[epoch, standing.commitNumber, target, target, standing.restorableFrom].map(int8Parameter),
  ])
  return { ...standing, commitNumber: standing.commitNumber + 1 }
}

/** Of its statements, those that changed the user's rows. */
export function restoredRows({ history }: FlightParts, counts: readonly number[]): number {
  const changing = history.reduce((count, { restore }) => count + restore.length, 0)
  return counts.slice(1, 1 + changing).reduce((sum, count) => sum + count, 0)
}

function positionColumns(blocks: readonly BlockRef[]) {
  return [
    textArrayParameter(blocks.map((block) => block.source)),
    int8ArrayParameter(blocks.map((block) => block.checkpoint)),
    int8ArrayParameter(blocks.map((block) => block.number)),
    textArrayParameter(blocks.map((block) => block.hash)),
    textArrayParameter(blocks.map((block) => block.cursor ?? null)),
    int8ArrayParameter(blocks.map((block) => block.timestamp ?? null)),
  ]
}
