/**
 * tailrace's own tables and functions, in schema `tailrace`. Two processes may start for the first time at once:
 * everything is made inside one transaction, behind an advisory lock that ends with it.
 *
 *   pipelines    one row a pipeline: who owns it, its epoch, its commit number, its frontier
 *   heartbeats   when the owner last said that it lives
 *   cursors      last committed position of each source
 *   checkpoints  positions a fork may go back to
 *   regions      snapshots: of each region the current one, those that a fork may go back to, those that wait for Redis
 */

/** Raised by the functions below; the class is ours. */
export const sqlState = {
  /** The epoch is not ours any more: another owner took the pipeline. */
  epoch: 'TR001',
  /** Epoch or commit number differ at the end of the flight. */
  fence: 'TR002',
} as const

/** Grows with every change below; an older installation is brought up to it. */
export const schemaVersion = 3

/** First half of a two-key advisory lock: 'tail' as int4. The second half tells installation from anything else. */
export const advisoryLock = { space: 0x7461696c, install: 1 } as const

export const installStatements: readonly string[] = [
  'CREATE SCHEMA IF NOT EXISTS tailrace',
  `CREATE TABLE IF NOT EXISTS tailrace.meta (version integer NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS tailrace.pipelines (
    name text COLLATE "C" PRIMARY KEY,
    -- grows at every change of owner and after every lost connection
    epoch bigint NOT NULL DEFAULT 0,
    -- the owning run; null: free
    token uuid,
    host text,
    pid integer,
    backend_pid integer,
    backend_start timestamptz,
    taken_at timestamptz,
    -- one more with every commit and every rollback
    commit_number bigint NOT NULL DEFAULT 0,
    -- committed frontier, and the highest checkpoint that ever reached the database
    committed bigint NOT NULL DEFAULT 0,
    counter bigint NOT NULL DEFAULT 0,
    committed_at timestamptz
  )`,
  // since version 2: a rollback can go back to here, and no further. Before that no history was kept
  `ALTER TABLE tailrace.pipelines ADD COLUMN IF NOT EXISTS restorable_from bigint`,
  // since version 2: sources and tables it was indexed with
  `ALTER TABLE tailrace.pipelines ADD COLUMN IF NOT EXISTS shape jsonb`,
  `UPDATE tailrace.pipelines SET restorable_from = committed WHERE restorable_from IS NULL`,
  `ALTER TABLE tailrace.pipelines ALTER COLUMN restorable_from SET DEFAULT 0, ALTER COLUMN restorable_from SET NOT NULL`,
  // since version 2: when the owner last said that it lives. A row of its own, so that no commit, however long, holds it
  `CREATE TABLE IF NOT EXISTS tailrace.heartbeats (
    pipeline text COLLATE "C" PRIMARY KEY,
    token uuid NOT NULL,
    at timestamptz NOT NULL
  )`,
  `CREATE TABLE IF NOT EXISTS tailrace.cursors (
    pipeline text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    checkpoint bigint NOT NULL,
    number bigint NOT NULL,
    hash text NOT NULL,
    cursor text,
    PRIMARY KEY (pipeline, source)
  )`,
  `CREATE TABLE IF NOT EXISTS tailrace.checkpoints (
    pipeline text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    checkpoint bigint NOT NULL,
    number bigint NOT NULL,
    hash text NOT NULL,
    cursor text,
    PRIMARY KEY (pipeline, source, checkpoint)
  )`,
  // since version 2: where blocks are ordered by their time, so is what has been given out
  `ALTER TABLE tailrace.cursors ADD COLUMN IF NOT EXISTS "timestamp" bigint`,
  `ALTER TABLE tailrace.checkpoints ADD COLUMN IF NOT EXISTS "timestamp" bigint`,
  // since version 3: milliseconds; what is made anew under the same name is told from what was there before
  `ALTER TABLE tailrace.pipelines ADD COLUMN IF NOT EXISTS incarnation bigint NOT NULL
    DEFAULT floor(extract(epoch FROM clock_timestamp()) * 1000)`,
  // since version 3
  `CREATE TABLE IF NOT EXISTS tailrace.regions (
    pipeline text COLLATE "C" NOT NULL,
    region text COLLATE "C" NOT NULL,
    checkpoint bigint NOT NULL,
    -- its place among those of the same checkpoint
    seq integer NOT NULL,
    id text NOT NULL,
    -- JSON as it was published; null: a rollback has left the region without a snapshot
    body text,
    -- its stamp: who wrote it, or brought it back, and when in the order of commits
    epoch bigint NOT NULL,
    commit_number bigint NOT NULL,
    ordinal integer NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    PRIMARY KEY (pipeline, region, checkpoint, seq)
  )`,
  // First statement of a flight: a superseded owner fails as such, and not on somebody's key. No lock is taken.
  // Constraints that can wait do: in one group row 2 gives a value up and row 1 takes it.
  `CREATE OR REPLACE FUNCTION tailrace.begin_flight(pipeline text, expected bigint) RETURNS void
    LANGUAGE plpgsql AS $body$
    DECLARE found_epoch bigint;
    BEGIN
      SELECT p.epoch INTO found_epoch FROM tailrace.pipelines p WHERE p.name = pipeline;
      IF found_epoch IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'pipeline % is at epoch %, this run holds %', pipeline, found_epoch, expected
          USING ERRCODE = '${sqlState.epoch}';
      END IF;
      SET CONSTRAINTS ALL DEFERRED;
    END $body$`,
  // Last statement of a flight: compare-and-set. It must raise, since 0 updated rows would let the flight through.
  // A commit raises the frontier, a rollback lowers it; counter and restorable_from only ever grow.
  `DROP FUNCTION IF EXISTS tailrace.fence(text, bigint, bigint, bigint, bigint)`,
  `CREATE OR REPLACE FUNCTION tailrace.fence(
      pipeline text, expected_epoch bigint, expected_number bigint, new_committed bigint, new_counter bigint,
      new_restorable_from bigint
    ) RETURNS void
    LANGUAGE plpgsql AS $body$
    BEGIN
      UPDATE tailrace.pipelines p
        SET commit_number = expected_number + 1,
            committed = new_committed,
            counter = greatest(p.counter, new_counter),
            restorable_from = greatest(p.restorable_from, new_restorable_from),
            committed_at = clock_timestamp()
        WHERE p.name = pipeline AND p.epoch = expected_epoch AND p.commit_number = expected_number;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'pipeline % moved on from epoch %, commit %', pipeline, expected_epoch, expected_number
          USING ERRCODE = '${sqlState.fence}';
      END IF;
    END $body$`,
]
