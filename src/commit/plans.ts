/** Nearly all SQL on tailrace's own tables, as named texts. Parameter types are in the comments. */

/** Session settings the writer and the readers depend on, whatever the role's defaults are. */
export const pinSession = [
  `SET statement_timeout = 0`,
  `SET lock_timeout = 0`,
  `SET idle_in_transaction_session_timeout = 0`,
  `SET default_transaction_isolation = 'read committed'`,
  `SET default_transaction_read_only = off`,
  `SET default_transaction_deferrable = off`,
  `SET search_path = "$user", public`,
  `SET client_encoding = 'UTF8'`,
  `SET TimeZone = 'UTC'`,
  `SET DateStyle = 'ISO, MDY'`,
  `SET IntervalStyle = 'postgres'`,
  `SET bytea_output = 'hex'`,
  `SET extra_float_digits = 1`,
  `SET standard_conforming_strings = on`,
].join('; ')

export const installedVersion = `SELECT to_regclass('tailrace.meta') IS NOT NULL AS installed`
export const readVersion = `SELECT version FROM tailrace.meta`
export const writeVersion = `WITH gone AS (DELETE FROM tailrace.meta) INSERT INTO tailrace.meta VALUES ($1)`

/** $1 name */
export const addPipeline = `INSERT INTO tailrace.pipelines (name) VALUES ($1) ON CONFLICT DO NOTHING`

/** $1 name. `alive`: the recorded backend still runs; a role that may not see its start time sees its pid. */
export const readOwner = `
  SELECT p.epoch, p.token, p.host, p.pid, p.taken_at, p.token IS NOT NULL AND EXISTS (
    SELECT FROM pg_stat_activity a
    WHERE a.pid = p.backend_pid AND (a.backend_start IS NULL OR a.backend_start = p.backend_start)
  ) AS alive
  FROM tailrace.pipelines p WHERE p.name = $1`

/**
 * $1 name, $2 epoch seen, $3 token, $4 host, $5 pid. Names what it saw, so that two that saw the same cannot both
 * take it.
 */
export const takePipeline = `
  UPDATE tailrace.pipelines SET epoch = epoch + 1, token = $3, host = $4, pid = $5,
    backend_pid = pg_backend_pid(),
    backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
    taken_at = clock_timestamp()
  WHERE name = $1 AND epoch = $2
  RETURNING epoch, commit_number, committed, counter, restorable_from`

/**
 * $1 name, $2 own token. Waits behind whatever the old connection still executes, or fences it; takes nothing from
 * anybody else.
 */
export const retakePipeline = `
  UPDATE tailrace.pipelines SET epoch = epoch + 1,
    backend_pid = pg_backend_pid(),
    backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
  WHERE name = $1 AND token = $2
  RETURNING epoch, commit_number, committed`

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
  SELECT source, number, hash, cursor, checkpoint FROM tailrace.checkpoints WHERE pipeline = $1
  UNION
  SELECT source, number, hash, cursor, checkpoint FROM tailrace.cursors WHERE pipeline = $1
  ORDER BY checkpoint DESC`

// ── inside a flight; parameters are binary ──────────────────────────────────────────────────────────────────

/** $1 text name, $2 int8 epoch */
export const beginFlight = `SELECT tailrace.begin_flight($1, $2)`

/** $1 text name, $2 text[] source, $3 int8[] checkpoint, $4 int8[] number, $5 text[] hash, $6 text[] cursor */
export const writeCursors = `
  INSERT INTO tailrace.cursors AS c (pipeline, source, checkpoint, number, hash, cursor)
  SELECT $1, u.* FROM unnest($2, $3, $4, $5, $6) AS u ORDER BY 2
  ON CONFLICT (pipeline, source) DO UPDATE SET
    checkpoint = EXCLUDED.checkpoint, number = EXCLUDED.number, hash = EXCLUDED.hash, cursor = EXCLUDED.cursor`

/** as writeCursors */
export const writeCheckpoints = `
  INSERT INTO tailrace.checkpoints (pipeline, source, checkpoint, number, hash, cursor)
  SELECT $1, u.* FROM unnest($2, $3, $4, $5, $6) AS u ORDER BY 2, 3`

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
  `UPDATE tailrace.cursors c SET checkpoint = k.checkpoint, number = k.number, hash = k.hash, cursor = k.cursor
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
  INSERT INTO tailrace.checkpoints (pipeline, source, checkpoint, number, hash, cursor)
  SELECT pipeline, source, checkpoint, number, hash, cursor FROM tailrace.cursors WHERE pipeline = $1
  ON CONFLICT DO NOTHING`

/** $1 name. Nothing committed so far can be taken back. */
export const loseHistory = `
  UPDATE tailrace.pipelines SET restorable_from = committed WHERE name = $1 RETURNING restorable_from`
