import { test } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import { blocksOf, createWorld, handlers, tables } from '../support/indexers.ts'
test('x', async () => {
  await using world = await createWorld()
  const indexer = createIndexer({ name: 'single', source: memorySource({ id: 'm', blocks: blocksOf(12, 3) }), tables, handlers, store: world.plainStore() })
  console.log(await indexer.run())
})
