/** Nearly all SQL on tailrace's own tables, as named texts. Parameter types are in the comments. */

/** Session settings the writer and the readers depend on, whatever the role's defaults are; as `pg_settings` has them. */
export const pinnedSettings: Readonly<Record<string, string>> = {
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  // since Postgres 14, since 17
  idle_session_timeout: '0',
  transaction_timeout: '0',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  search_path: '"$user", public',
  client_encoding: 'UTF8',
  TimeZone: 'UTC',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
}

const lists = new Set(['search_path', 'DateStyle'])

/** `SET name = value`, or what `ALTER ROLE` takes. */
export const pinSetting = (name: string): string => {
  const value = pinnedSettings[name]!
  return `SET ${name} = ${lists.has(name) ? value : `'${value}'`}`
}

/** A setting that the server is too old to know is left out. */
export const pinSession = `SELECT ${Object.entries(pinnedSettings)
  .map(
    ([name, value]) =>
      `CASE WHEN current_setting('${name}', true) IS NOT NULL THEN set_config('${name}', '${value}', false) END`,
  )
  .join(', ')}`

export const installedVersion = `SELECT to_regclass('tailrace.meta') IS NOT NULL AS installed`
export const readVersion = `SELECT version FROM tailrace.meta`
export const writeVersion = `WITH gone AS (DELETE FROM tailrace.meta) INSERT INTO tailrace.meta VALUES ($1)`

/** $1 name. Only where there is none: a conflict would wait for whatever holds the row, a frozen owner's commit included. */
export const addPipeline = `
  INSERT INTO tailrace.pipelines (name)
  SELECT $1 WHERE NOT EXISTS (SELECT FROM tailrace.pipelines WHERE name = $1) ON CONFLICT DO NOTHING`

/**
 * $1 name. What tells whether its owner lives, by the database's clock alone: `silent_ms` since its last heartbeat (or since
 * the server came up, when nobody could say anything before; and a new owner's heartbeat takes a moment to start), and `backend_gone` when its connection ended while the
 * server ran on. A role that may not see a backend's start time sees its pid.
 */
export const readOwner = `
  SELECT p.epoch, p.token, p.host, p.pid, p.taken_at, h.at::text AS beat, p.backend_pid IS NOT NULL AS direct,
    extract(epoch FROM clock_timestamp()) * 1000 AS now_ms,
    extract(epoch FROM clock_timestamp() - greatest(h.at, p.taken_at + interval '2 s', pg_postmaster_start_time())) * 1000 AS silent_ms,
    p.backend_start >= pg_postmaster_start_time() AND NOT EXISTS (
      SELECT FROM pg_stat_activity a
      WHERE a.pid = p.backend_pid AND (a.backend_start IS NULL OR a.backend_start = p.backend_start)
    ) AS backend_gone
  FROM tailrace.pipelines p LEFT JOIN tailrace.heartbeats h ON h.pipeline = p.name AND h.token = p.token
  WHERE p.name = $1`

/** The columns of the connection that owns a row. Behind a pooler (the client was told another pid) there is none. */
const ownBackend = (clientPid: string) => `
    backend_pid = CASE WHEN pg_backend_pid() = ${clientPid} THEN pg_backend_pid() END,
    backend_start = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid() AND a.pid = ${clientPid})`

/** The owner has not spoken since. */
const stillSeen = (pipelines: string, beatSeen: string) => `${beatSeen}::timestamptz IS NOT DISTINCT FROM (
      SELECT h.at FROM tailrace.heartbeats h WHERE h.pipeline = ${pipelines}.name AND h.token = ${pipelines}.token)`

/**
 * $1 name, $2 epoch seen, $3 token, $4 host, $5 pid, $6 pid of the backend as the client knows it, $7 heartbeat seen.
 * Names what it saw, so that of two that saw the same only one takes it, and none from an owner that spoke since.
 */
export const takePipeline = `
  WITH taken AS (
    UPDATE tailrace.pipelines SET epoch = epoch + 1, token = $3, host = $4, pid = $5, ${ownBackend('$6::int')},
      taken_at = clock_timestamp()
    WHERE name = $1 AND epoch = $2 AND ${stillSeen('pipelines', '$7')}
    RETURNING name, token, epoch, commit_number, committed, counter, restorable_from, incarnation
  ), beat AS (
    INSERT INTO tailrace.heartbeats SELECT name, token, clock_timestamp() FROM taken
    ON CONFLICT (pipeline) DO UPDATE SET token = EXCLUDED.token, at = EXCLUDED.at
  )
  SELECT epoch, commit_number, committed, counter, restorable_from, incarnation FROM taken`

/** Of every pipeline. */
export const readShapes = `SELECT name, shape FROM tailrace.pipelines WHERE shape IS NOT NULL`

/** $1 name, $2 own token, $3 shape */
export const writeShape = `UPDATE tailrace.pipelines SET shape = $3 WHERE name = $1 AND token = $2`

/** $1 name, $2 own token. No row: somebody else has the pipeline. */
export const beat = `UPDATE tailrace.heartbeats SET at = clock_timestamp() WHERE pipeline = $1 AND token = $2`

/**
 * $1 name, $2 own token, $3 pid of the backend as the client knows it. Waits behind whatever the old connection still
 * executes, or fences it; takes nothing from anybody else.
 */
export const retakePipeline = `
  UPDATE tailrace.pipelines SET epoch = epoch + 1, ${ownBackend('$3::int')}
  WHERE name = $1 AND token = $2
  RETURNING epoch, commit_number, committed, counter, restorable_from, incarnation`

/**
 * $1 name, $2 epoch and $3 heartbeat seen. Ends the connection of an owner that is taken for dead: it may hold locks. One
 * that a pooler lent it is known by its name, and by a transaction that has stood for a second.
 */
export const endDeadBackend = `
  SELECT pg_terminate_backend(a.pid) FROM tailrace.pipelines p JOIN pg_stat_activity a ON CASE
    WHEN p.backend_pid IS NOT NULL
      THEN a.pid = p.backend_pid AND a.backend_start = p.backend_start AND a.application_name LIKE 'tailrace %'
    ELSE a.datname = current_database() AND a.application_name = left('tailrace ' || p.name, 63)
      AND a.xact_start < clock_timestamp() - interval '1 second'
    END
  WHERE p.name = $1 AND p.epoch = $2 AND a.pid <> pg_backend_pid() AND ${stillSeen('p', '$3')}`

/** $1 name, $2 own token. Ends the backend of the lost connection, if it is still there. */
export const endOldBackend = `
  SELECT pg_terminate_backend(a.pid) FROM tailrace.pipelines p JOIN pg_stat_activity a ON a.pid = p.backend_pid
  WHERE p.name = $1 AND p.token = $2 AND a.backend_start = p.backend_start AND a.pid <> pg_backend_pid()`

/** $1 name, $2 own token */
export const releasePipeline = `
  UPDATE tailrace.pipelines SET token = NULL, backend_pid = NULL, backend_start = NULL
  WHERE name = $1 AND token = $2`

/** $1 name. Newest first. */
export const readPositions = `
  SELECT source, number, hash, cursor, checkpoint, "timestamp" FROM tailrace.checkpoints WHERE pipeline = $1
  UNION
  SELECT source, number, hash, cursor, checkpoint, "timestamp" FROM tailrace.cursors WHERE pipeline = $1
  ORDER BY checkpoint DESC`

// ── inside a flight; parameters are binary ──────────────────────────────────────────────────────────────────

/** $1 text name, $2 int8 epoch */
export const beginFlight = `SELECT tailrace.begin_flight($1, $2)`

/** $1 text name, $2 text[] source, $3 int8[] checkpoint, $4 int8[] number, $5 text[] hash, $6 text[] cursor, $7 int8[] timestamp */
export const writeCursors = `
  INSERT INTO tailrace.cursors AS c (pipeline, source, checkpoint, number, hash, cursor, "timestamp")
  SELECT $1, u.* FROM unnest($2, $3, $4, $5, $6, $7) AS u ORDER BY 2
  ON CONFLICT (pipeline, source) DO UPDATE SET checkpoint = EXCLUDED.checkpoint, number = EXCLUDED.number,
    hash = EXCLUDED.hash, cursor = EXCLUDED.cursor, "timestamp" = EXCLUDED."timestamp"`

/** as writeCursors */
export const writeCheckpoints = `
  INSERT INTO tailrace.checkpoints (pipeline, source, checkpoint, number, hash, cursor, "timestamp")
  SELECT $1, u.* FROM unnest($2, $3, $4, $5, $6, $7) AS u ORDER BY 2, 3`

/** $1 text name, $2 int8 safe checkpoint. Keeps each source's newest position at or below it. */
export const pruneCheckpoints = `
  DELETE FROM tailrace.checkpoints c
  WHERE c.pipeline = $1 AND c.checkpoint < (
    SELECT max(k.checkpoint) FROM tailrace.checkpoints k
    WHERE k.pipeline = $1 AND k.source = c.source AND k.checkpoint <= $2)`

/** $1 text name, $2 int8 epoch, $3 int8 commit number, $4 int8 committed, $5 int8 counter, $6 int8 restorable from */
export const fence = `SELECT tailrace.fence($1, $2, $3, $4, $5, $6)`

// ── a rollback: $1 text name, $2 int8 target ────────────────────────────────────────────────────────────────

/** In this order: cursors above the target go to their source's newest position at or below it, or away. */
export const restoreCursors = [
  `UPDATE tailrace.cursors c SET checkpoint = k.checkpoint, number = k.number, hash = k.hash, cursor = k.cursor,
     "timestamp" = k."timestamp"
   FROM (
     SELECT DISTINCT ON (source) * FROM tailrace.checkpoints WHERE pipeline = $1 AND checkpoint <= $2
     ORDER BY source, checkpoint DESC
   ) AS k
   WHERE c.pipeline = $1 AND c.source = k.source AND c.checkpoint > $2`,
  `DELETE FROM tailrace.cursors WHERE pipeline = $1 AND checkpoint > $2`,
  `DELETE FROM tailrace.checkpoints WHERE pipeline = $1 AND checkpoint > $2`,
] as const

// ── history is made ready, in one transaction that holds the pipeline's row ──────────────────────────────────

/** $1 name, $2 epoch. No row: another owner has it. */
export const holdPipeline = `SELECT FROM tailrace.pipelines WHERE name = $1 AND epoch = $2 FOR UPDATE`

/** $1 name. Where it stands is where its source's newest fork may go back to. */
export const keepAnchors = `
  INSERT INTO tailrace.checkpoints (pipeline, source, checkpoint, number, hash, cursor, "timestamp")
  SELECT pipeline, source, checkpoint, number, hash, cursor, "timestamp" FROM tailrace.cursors WHERE pipeline = $1
  ON CONFLICT DO NOTHING`

/** $1 name. Nothing committed so far can be taken back. */
export const loseHistory = `
  UPDATE tailrace.pipelines SET restorable_from = committed WHERE name = $1 RETURNING restorable_from`
