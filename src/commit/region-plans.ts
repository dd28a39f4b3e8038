/**
 * SQL of the regions' snapshots. Rows are kept like positions: above the safe checkpoint one per (region, checkpoint), of
 * the rest the newest; so that a rollback removes what is above its target, and what is left is what was shown then.
 */

// ── inside a flight; parameters are binary ──────────────────────────────────────────────────────────────────

/**
 * $1 text pipeline, $2 int8 epoch, $3 int8 commit number, $4 text[] region, $5 int8[] checkpoint, $6 int8[] seq,
 * $7 text[] id, $8 text[] body; in the order in which they were published.
 */
export const writeSnapshots = `
  INSERT INTO tailrace.regions (pipeline, region, checkpoint, seq, id, body, epoch, commit_number, ordinal)
  SELECT $1, u.region, u.checkpoint, u.seq, u.id, u.body, $2, $3, u.ordinal - 1
  FROM unnest($4, $5, $6, $7, $8) WITH ORDINALITY AS u (region, checkpoint, seq, id, body, ordinal)`

/**
 * $1 text pipeline, $2 text[] region, $3 int8[] checkpoint, $4 int8[] seq, $5 int8[] commit number. Those before it were
 * delivered before it, or passed over; one that a rollback has brought back since has a higher number, and is neither.
 */
export const markDelivered = `
  UPDATE tailrace.regions r SET delivered_at = clock_timestamp()
  FROM unnest($2, $3, $4, $5) AS m (region, checkpoint, seq, commit_number)
  WHERE r.pipeline = $1 AND r.region = m.region AND r.delivered_at IS NULL
    AND (r.checkpoint, r.seq) <= (m.checkpoint, m.seq) AND r.commit_number <= m.commit_number`

const olderThanCurrent = `
    AND (r.checkpoint, r.seq) < (
      SELECT k.checkpoint, k.seq FROM tailrace.regions k
      WHERE k.pipeline = $1 AND k.region = r.region AND k.checkpoint <= $2
      ORDER BY k.checkpoint DESC, k.seq DESC LIMIT 1)`

/** $1 text pipeline, $2 int8 checkpoint that cannot be taken back any more. By what is to be delivered. */
export const pruneSnapshots = {
  newest: `DELETE FROM tailrace.regions r WHERE r.pipeline = $1${olderThanCurrent}`,
  every: `DELETE FROM tailrace.regions r WHERE r.pipeline = $1 AND r.delivered_at IS NOT NULL${olderThanCurrent}`,
} as const

/**
 * $1 text pipeline, $2 int8 target, $3 int8 epoch, $4 int8 number of the rollback. What a region showed at the target is to
 * be delivered again, under the rollback's own stamp; one that showed nothing gets a tombstone (H75).
 */
export const restoreSnapshots = `
  WITH gone AS (
    DELETE FROM tailrace.regions WHERE pipeline = $1 AND checkpoint > $2 RETURNING region
  ), changed AS (
    SELECT region, row_number() OVER (ORDER BY region) - 1 AS ordinal FROM (SELECT DISTINCT region FROM gone) AS g
  ), kept AS (
    SELECT DISTINCT ON (r.region) r.region, r.checkpoint, r.seq, c.ordinal
    FROM tailrace.regions r JOIN changed c ON c.region = r.region
    WHERE r.pipeline = $1 AND r.checkpoint <= $2
    ORDER BY r.region, r.checkpoint DESC, r.seq DESC
  ), again AS (
    UPDATE tailrace.regions r
    SET epoch = $3, commit_number = $4, ordinal = k.ordinal, committed_at = clock_timestamp(), delivered_at = NULL
    FROM kept k WHERE r.pipeline = $1 AND r.region = k.region AND r.checkpoint = k.checkpoint AND r.seq = k.seq
  )
  INSERT INTO tailrace.regions (pipeline, region, checkpoint, seq, id, body, epoch, commit_number, ordinal)
  SELECT $1, c.region, $2, 0, 'tombstone-' || $4, NULL, $3, $4, c.ordinal
  FROM changed c WHERE NOT EXISTS (SELECT FROM kept k WHERE k.region = c.region)`

// ── outside: rows as text ───────────────────────────────────────────────────────────────────────────────────

const columns =
  'r.region, r.id, r.checkpoint, r.seq, r.epoch, r.commit_number, r.ordinal, r.delivered_at IS NOT NULL, extract(epoch FROM r.committed_at) * 1000, count(*) FILTER (WHERE r.delivered_at IS NULL) OVER (PARTITION BY r.region)'

/** $1 text pipeline. The current snapshot of each region. */
export const readRegions = `
  SELECT DISTINCT ON (r.region) ${columns} FROM tailrace.regions r WHERE r.pipeline = $1
  ORDER BY r.region, r.checkpoint DESC, r.seq DESC`

/** $1 text pipeline, $2 text[] regions. With bodies. */
export const readSnapshots = {
  newest: `
  SELECT DISTINCT ON (r.region) ${columns}, r.body FROM tailrace.regions r
  WHERE r.pipeline = $1 AND r.region = ANY ($2)
  ORDER BY r.region, r.checkpoint DESC, r.seq DESC`,
  every: `
  SELECT ${columns}, r.body FROM tailrace.regions r
  WHERE r.pipeline = $1 AND r.region = ANY ($2) AND (r.delivered_at IS NULL OR (r.checkpoint, r.seq) = (
    SELECT k.checkpoint, k.seq FROM tailrace.regions k WHERE k.pipeline = $1 AND k.region = r.region
    ORDER BY k.checkpoint DESC, k.seq DESC LIMIT 1))
  ORDER BY r.region, r.epoch, r.commit_number, r.ordinal`,
} as const
