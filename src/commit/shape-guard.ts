/** Holds a run to the shape its pipeline was indexed with. */
import type pg from 'pg'
import type { Taken } from './ownership.ts'
import { readShapes } from './plans.ts'
import { refuseChangedShape, shapeDifferences, shapeOf, type Shape } from './shape.ts'
import type { OpenStore } from './store.ts'

/**
 * @returns the shape of this run, to be stored once nothing else can refuse it
 * @throws ConfigurationError `SHAPE_CHANGED`
 */
export async function checkShape(
  client: pg.Client,
  { commitNumber }: Taken,
  { pipeline, sources, models, log }: Pick<OpenStore, 'pipeline' | 'sources' | 'models' | 'log'>,
): Promise<Shape> {
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
  return shape
}
