/** Holds a run to the shape its pipeline was indexed with, and stores what has been added. */
import type pg from 'pg'
import type { Taken } from './ownership.ts'
import { readShapes, writeShape } from './plans.ts'
import { refuseChangedShape, shapeDifferences, shapeOf, type Shape } from './shape.ts'
import type { OpenStore } from './store.ts'

/** @throws ConfigurationError `SHAPE_CHANGED`; then nothing has been changed */
export async function keepShape(
  client: pg.Client,
  { pipeline, token }: { readonly pipeline: string; readonly token: string },
  { commitNumber }: Taken,
  { sources, models, log }: Pick<OpenStore, 'sources' | 'models' | 'log'>,
): Promise<void> {
  const shape = shapeOf(sources, models)
  const { rows } = await client.query<{ name: string; shape: Shape }>(readShapes)
  const stored = rows.find(({ name }) => name === pipeline)?.shape
  // before its first commit there is nothing that a change could contradict
  if (stored !== undefined && commitNumber > 0) {
    const differences = shapeDifferences(stored, shape)
    refuseChangedShape(pipeline, differences)
    for (const note of differences.noted) log.info('the pipeline has changed since its last run', { note })
  }
  for (const other of rows.filter(({ name }) => name !== pipeline)) {
    const shared = Object.entries(shape.tables)
      .filter(([, { relation }]) =>
        Object.values(other.shape.tables).some((table) => table.relation === relation),
      )
      .map(([name]) => name)
    if (shared.length > 0) {
      log.warn(
        'another pipeline writes the same tables; neither can read its own rows safely, or take them back',
        {
          pipeline: other.name,
          tables: shared,
        },
      )
    }
  }
  await client.query(writeShape, [pipeline, token, JSON.stringify(shape)])
}
