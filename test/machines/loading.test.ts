/**
 * A chart that cannot even be made fails a test here, and not the loading of a file: that nobody sees who counts failed
 * tests, as `npm run mutate` does. Of what it is to be, the other files speak.
 */
import { expect, test } from 'vitest'

test('the charts can be made', async () => {
  const { indexerMachine, committerMachine, publisherMachine, regionMachine } =
    await import('../../machines/index.ts')
  const charts = [indexerMachine, committerMachine, publisherMachine, regionMachine]
  expect(charts.map((machine) => machine.root.id)).toEqual(['indexer', 'committer', 'publisher', 'region'])
})
