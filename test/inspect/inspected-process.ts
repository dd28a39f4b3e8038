/**
 * A process of its own, for what only a process can show. `serve`: inspects a run, tells its address, and stops the run
 * when it is told to; nothing is closed. `record <file>`: records a run that has no end, and tells when some of it is on
 * the disk. `stately <module>`: Stately's inspector on a run that stops at once; nothing is closed.
 */
import { statSync } from 'node:fs'
import { createIndexer, memorySource, type Block } from '../../src/index.ts'
import { inspect, inspectWithStately } from '../../src/inspect/index.ts'
import { memoryStore } from '../../src/testing/index.ts'
import { row, setRow } from '../support/indexers.ts'

const [what = '', file = ''] = process.argv.slice(2)

async function* endless(): AsyncIterable<Block<number>> {
  for (let number = 1; ; number++) {
    await new Promise((resolve) => setImmediate(resolve))
    yield { number, items: [number] }
  }
}

const indexer = createIndexer({
  name: 'child',
  source: memorySource({ id: 'm', blocks: endless }),
  tables: { row },
  handle: setRow,
  store: memoryStore(),
  limits: { batchItems: 1, groupLatencyMs: 0 },
  ...(what === 'record' ? { record: file } : {}),
})

if (what === 'serve') {
  const { url } = await inspect(indexer)
  process.send?.(url)
  process.once('message', () => {
    process.disconnect()
    void indexer.stop()
  })
} else if (what === 'stately') {
  await inspectWithStately(indexer, { module: file })
  indexer.on('batch.committed', () => void indexer.stop())
} else {
  let isTold = false
  indexer.on('batch.committed', () => {
    if (isTold || statSync(file).size < 200_000) return
    isTold = true
    process.send?.('recorded')
  })
}
await indexer.run()
