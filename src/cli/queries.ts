/** Every query of the command. Whoever owns a pipeline is read by the store's own `readOwner`, and judged here alone. */
import type pg from 'pg'
import { installedVersion, readOwner, readVersion } from '../commit/plans.ts'
import { qualified } from '../commit/sql-names.ts'

/**
 * free     nobody owns it
 * running  its owner was heard of lately
 * silent   its owner was not heard of for a while, but its connection is open
 * gone     its owner was not heard of, and its connection has ended; the next run takes over
 */
export type OwnerState = 'free' | 'running' | 'silent' | 'gone'

export interface Owner {
  readonly host: string | null
  readonly pid: number | null
  readonly since: Date | null
  /** Since its last heartbeat. */
  readonly silentMs: number
}

export interface Ownership {
  readonly state: OwnerState
  /** Null when free. */
  readonly owner: Owner | null
  readonly epoch: bigint
  readonly token: string | null
}

export interface Pipeline {
  readonly name: string
  readonly commitNumber: bigint
  /** Committed frontier. */
  readonly committed: bigint
  readonly committedAt: Date | null
  /** Age of the last commit, by the database's clock. */
  readonly committedAgeMs: number | null
  /** Highest checkpoint that ever reached the database. */
  readonly counter: bigint
  readonly restorableFrom: bigint
}

export interface Cursor {
  readonly pipeline: string
  readonly source: string
  readonly number: bigint
  readonly hash: string
  readonly cursor: string | null
  readonly checkpoint: bigint
  /** Positions that a fork may go back to. */
  readonly positions: bigint
}

/**
 * As far as rows tell; that a region is quarantined only its run knows.
 *
 * ok       its current snapshot is delivered
 * waiting  it is not, or no commit has said so yet
 * none     it has none: a rollback took it, and readers were told
 */
export type RegionState = 'ok' | 'waiting' | 'none'

export interface Region {
  readonly pipeline: string
  readonly region: string
  readonly state: RegionState
  /** Of the current snapshot, as are id, commit and tombstone: the checkpoint it belongs to. */
  readonly checkpoint: bigint
  readonly snapshot: string
  /** The commit that wrote it, or the rollback that brought it back. */
  readonly commitNumber: bigint
  /** A rollback has left the region without a snapshot. */
  readonly isTombstone: boolean
  /** Rows that are not delivered; where only the newest counts, those that a newer one overtook are among them. */
  readonly undelivered: number
  /** Since it was committed, by the database's clock; null unless it waits. */
  readonly waitingMs: number | null
  /** The latest delivery that rows know of; its age by the database's clock. */
  readonly deliveredAt: Date | null
  readonly deliveredAgeMs: number | null
}

export interface HistoryTable {
  readonly table: string
  /** Triggers feed it. */
  readonly armed: boolean
  readonly bytes: bigint
}

// ── transactions ────────────────────────────────────────────────────────────────────────────────────────────

/** How long a command waits for a lock that somebody holds. */
export const lockTimeoutMs = 10_000

export async function inTransaction<T>(
  client: pg.Client,
  mode: 'read' | 'write',
  work: () => Promise<T>,
): Promise<T> {
  await client.query(mode === 'read' ? 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' : 'BEGIN')
  try {
    await client.query(`SET LOCAL lock_timeout = ${lockTimeoutMs}`)
    const result = await work()
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined)
    throw error
  }
}

// ── what is there ───────────────────────────────────────────────────────────────────────────────────────────

/** Undefined: no pipeline has ever run here. */
export async function schemaVersionOf(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ installed: boolean }>(installedVersion)
  if (rows[0]?.installed !== true) return undefined
  return (await client.query<{ version: number }>(readVersion)).rows[0]?.version
}

export async function isReplica(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ replica: boolean }>('SELECT pg_is_in_recovery() AS replica')
  return rows[0]?.replica === true
}

export async function clockOf(client: pg.Client): Promise<Date> {
  return (await client.query<{ now: Date }>('SELECT clock_timestamp() AS now')).rows[0]!.now
}

/** Of an owner with the default `staleMs`, five heartbeats; one that asked for more may be silent for longer. */
const silentAfterMs = 15_000
/** Two heartbeats: one that has nothing to commit may live on without its connection. */
const goneAfterMs = 6_000

export async function ownershipOf(client: pg.Client, name: string): Promise<Ownership | undefined> {
  const { rows } = await client.query<{
    epoch: string
    token: string | null
    host: string | null
    pid: number | null
    taken_at: Date | null
    silent_ms: string | null
    backend_gone: boolean | null
  }>(readOwner, [name])
  const row = rows[0]
  if (row === undefined) return undefined
  const { token, host, pid, taken_at: since } = row
  const epoch = BigInt(row.epoch)
  if (token === null) return { state: 'free', owner: null, epoch, token }
  const silentMs = Math.max(0, Number(row.silent_ms ?? 0))
  const isGone = row.backend_gone === true && silentMs >= goneAfterMs
  const state = isGone ? 'gone' : silentMs >= silentAfterMs ? 'silent' : 'running'
  return { state, owner: { host, pid, since, silentMs }, epoch, token }
}

export async function pipelineNames(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>('SELECT name FROM tailrace.pipelines ORDER BY name')
  return rows.map(({ name }) => name)
}

/** @param name undefined: all of them */
export async function readPipelines(client: pg.Client, name: string | undefined): Promise<Pipeline[]> {
  const { rows } = await client.query<{
    name: string
    commit_number: string
    committed: string
    committed_at: Date | null
    age_ms: string | null
    counter: string
    restorable_from: string
  }>(
    `SELECT name, commit_number, committed, committed_at, counter, restorable_from,
       extract(epoch FROM clock_timestamp() - committed_at) * 1000 AS age_ms
     FROM tailrace.pipelines WHERE $1::text IS NULL OR name = $1 ORDER BY name`,
    [name ?? null],
  )
  return rows.map((row) => ({
    name: row.name,
    commitNumber: BigInt(row.commit_number),
    committed: BigInt(row.committed),
    committedAt: row.committed_at,
    committedAgeMs: row.age_ms === null ? null : ageOf(row.age_ms),
    counter: BigInt(row.counter),
    restorableFrom: BigInt(row.restorable_from),
  }))
}

/** Whole milliseconds; a clock that was set back makes no future. */
const ageOf = (milliseconds: string): number => Math.max(0, Math.round(Number(milliseconds)))

/** @param name undefined: of all pipelines */
export async function readCursors(client: pg.Client, name: string | undefined): Promise<Cursor[]> {
  type CursorRow = Record<'pipeline' | 'source' | 'number' | 'hash' | 'checkpoint' | 'positions', string> & {
    cursor: string | null
  }
  const { rows } = await client.query<CursorRow>(
    `SELECT c.pipeline, c.source, c.number, c.hash, c.cursor, c.checkpoint, (
       SELECT count(*) FROM tailrace.checkpoints k WHERE k.pipeline = c.pipeline AND k.source = c.source
     ) AS positions
     FROM tailrace.cursors c WHERE $1::text IS NULL OR c.pipeline = $1 ORDER BY c.pipeline, c.source`,
    [name ?? null],
  )
  return rows.map((row) => ({
    ...row,
    number: BigInt(row.number),
    checkpoint: BigInt(row.checkpoint),
    positions: BigInt(row.positions),
  }))
}

/** Schema version since which there is a table of regions. */
export const regionsSince = 3

/** @param name undefined: of all pipelines */
export async function readRegions(client: pg.Client, name: string | undefined): Promise<Region[]> {
  type RegionRow = Record<
    'pipeline' | 'region' | 'id' | 'checkpoint' | 'commit_number' | 'age_ms',
    string
  > & {
    tombstone: boolean
    delivered: boolean
    undelivered: number
    latest: Date | null
    latest_age_ms: string | null
  }
  const { rows } = await client.query<RegionRow>(
    `SELECT *, extract(epoch FROM clock_timestamp() - committed_at) * 1000 AS age_ms,
       extract(epoch FROM clock_timestamp() - latest) * 1000 AS latest_age_ms
     FROM (
       SELECT DISTINCT ON (r.pipeline, r.region) r.pipeline, r.region, r.id, r.checkpoint, r.commit_number, r.committed_at,
         r.body IS NULL AS tombstone, r.delivered_at IS NOT NULL AS delivered,
         (count(*) FILTER (WHERE r.delivered_at IS NULL) OVER same)::int AS undelivered,
         max(r.delivered_at) OVER same AS latest
       FROM tailrace.regions r WHERE $1::text IS NULL OR r.pipeline = $1
       WINDOW same AS (PARTITION BY r.pipeline, r.region)
       ORDER BY r.pipeline, r.region, r.checkpoint DESC, r.seq DESC
     ) AS current ORDER BY pipeline, region`,
    [name ?? null],
  )
  return rows.map((row) => ({
    pipeline: row.pipeline,
    region: row.region,
    state: !row.delivered ? 'waiting' : row.tombstone ? 'none' : 'ok',
    checkpoint: BigInt(row.checkpoint),
    snapshot: row.id,
    commitNumber: BigInt(row.commit_number),
    isTombstone: row.tombstone,
    undelivered: row.undelivered,
    waitingMs: row.delivered ? null : ageOf(row.age_ms),
    deliveredAt: row.latest,
    deliveredAgeMs: row.latest_age_ms === null ? null : ageOf(row.latest_age_ms),
  }))
}

/** Of every pipeline: which one writes a table is not stored. Without a schema tailrace_history there is none. */
export async function readHistoryTables(client: pg.Client): Promise<HistoryTable[]> {
  // the size of images is that of their tables alone: an empty one then has none
  const { rows } = await client.query<{ name: string; fed: string | null; bytes: string | null }>(
    `SELECT v.relname AS name, (
       SELECT n.nspname || '.' || c.relname FROM pg_trigger t
       JOIN pg_proc p ON p.oid = t.tgfoid
       JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE p.pronamespace = v.relnamespace AND p.proname = v.relname AND NOT t.tgisinternal LIMIT 1
     ) AS fed, (
       SELECT sum(pg_relation_size(h.oid) + CASE h.reltoastrelid WHEN 0 THEN 0 ELSE pg_relation_size(h.reltoastrelid) END)
       FROM pg_class h
       WHERE h.relnamespace = v.relnamespace AND h.relkind = 'r' AND h.relname IN (v.relname || '.a', v.relname || '.b')
     ) AS bytes
     FROM pg_class v WHERE v.relnamespace = to_regnamespace('tailrace_history') AND v.relkind = 'v' ORDER BY 1`,
  )
  return rows.map(({ name, fed, bytes }) => ({
    table: fed ?? name,
    armed: fed !== null,
    bytes: BigInt(bytes ?? 0),
  }))
}

// ── release ─────────────────────────────────────────────────────────────────────────────────────────────────

interface Freed {
  readonly epoch: bigint
  /** The connection its owner had; undefined: unknown, or behind a pooler. */
  readonly backend: { readonly pid: number; readonly start: string } | undefined
}

/** Frees the row of that very run, fences it, and has its heartbeat find out. Undefined: it is not that run's any more. */
export function freePipeline(client: pg.Client, name: string, token: string): Promise<Freed | undefined> {
  return inTransaction(client, 'write', async () => {
    const { rows } = await client.query<{ backend_pid: number | null; backend_start: string | null }>(
      `SELECT backend_pid, backend_start::text FROM tailrace.pipelines WHERE name = $1 AND token = $2 FOR UPDATE`,
      [name, token],
    )
    const row = rows[0]
    if (row === undefined) return undefined
    const { backend_pid: pid, backend_start: start } = row
    const freed = await client.query<{ epoch: string }>(
      `UPDATE tailrace.pipelines SET epoch = epoch + 1, token = NULL, host = NULL, pid = NULL, taken_at = NULL,
         backend_pid = NULL, backend_start = NULL
       WHERE name = $1 RETURNING epoch`,
      [name],
    )
    await client.query('DELETE FROM tailrace.heartbeats WHERE pipeline = $1', [name])
    const backend = pid === null || start === null ? undefined : { pid, start }
    return { epoch: BigInt(freed.rows[0]!.epoch), backend }
  })
}

/** Ends a connection of tailrace's that may still hold locks. @returns whether it was there and could be ended */
export async function endBackend(client: pg.Client, backend: Freed['backend']): Promise<boolean> {
  if (backend === undefined) return false
  const { rows } = await client.query<{ ended: boolean }>(
    `SELECT pg_terminate_backend(a.pid) AS ended FROM pg_stat_activity a
     WHERE a.pid = $1 AND a.backend_start = $2::timestamptz AND a.application_name LIKE 'tailrace %'`,
    [backend.pid, backend.start],
  )
  return rows[0]?.ended === true
}

// ── reset ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Where a pipeline has rows, and the column with its name. */
export const bookkeepingTables = {
  heartbeats: 'pipeline',
  checkpoints: 'pipeline',
  cursors: 'pipeline',
  regions: 'pipeline',
  pipelines: 'name',
} as const

export type Removed = Record<keyof typeof bookkeepingTables, number>

export interface UserTable {
  readonly schema: string
  readonly name: string
  /** `r` table, `p` partitioned table, `v` view, … */
  readonly kind: string
  readonly bytes: bigint
}

/** Nobody takes, commits or releases it until the transaction ends. */
export async function lockPipeline(client: pg.Client, name: string): Promise<void> {
  await client.query('SELECT FROM tailrace.pipelines WHERE name = $1 FOR UPDATE', [name])
}

export async function removeBookkeeping(client: pg.Client, name: string): Promise<Removed> {
  const removed = { heartbeats: 0, checkpoints: 0, cursors: 0, regions: 0, pipelines: 0 }
  for (const [table, column] of Object.entries(bookkeepingTables)) {
    const { rowCount } = await client.query(`DELETE FROM tailrace.${table} WHERE ${column} = $1`, [name])
    removed[table as keyof Removed] = rowCount ?? 0
  }
  return removed
}

/** Relations of that name: `table` in schema public, or `schema.table`. */
export async function findTables(client: pg.Client, name: string): Promise<UserTable[]> {
  const { rows } = await client.query<{ schema: string; name: string; kind: string; bytes: string | null }>(
    `SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, pg_table_size(c.oid) AS bytes
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND (
       n.nspname = 'public' AND c.relname = $1 OR n.nspname || '.' || c.relname = $1)`,
    [name],
  )
  return rows.map((row) => ({ ...row, bytes: BigInt(row.bytes ?? 0) }))
}

/** Those names of relations of schema tailrace_history that exist. */
export async function existingHistory(client: pg.Client, names: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT c.relname AS name FROM pg_class c
     WHERE c.relnamespace = to_regnamespace('tailrace_history') AND c.relkind = 'r' AND c.relname = ANY ($1)
     ORDER BY 1`,
    [names],
  )
  return rows.map(({ name }) => name)
}

/** All at once, so that they may refer to one another; never CASCADE. */
export async function emptyTables(
  client: pg.Client,
  tables: readonly { readonly schema: string; readonly name: string }[],
): Promise<void> {
  if (tables.length === 0) return
  await client.query(`TRUNCATE ${tables.map(({ schema, name }) => qualified(schema, name)).join(', ')}`)
}
