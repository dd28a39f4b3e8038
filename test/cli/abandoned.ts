/** A pipeline as process 42 on `elsewhere` left it that died long ago. */
import type { World } from '../support/indexers.ts'

export async function abandon(world: World, name: string): Promise<void> {
  // nobody could say anything before the server came up
  for (;;) {
    const [server] = await world.query(
      `SELECT clock_timestamp() - pg_postmaster_start_time() > interval '10 s' AS grown, pg_sleep(0.1)`,
    )
    if (server?.['grown'] === true) break
  }
  await world.query(
    `UPDATE tailrace.pipelines SET token = gen_random_uuid(), host = 'elsewhere', pid = 42,
       backend_pid = 1, backend_start = clock_timestamp(), taken_at = clock_timestamp() - interval '10 s' WHERE name = $1`,
    [name],
  )
}
