/** `tailrace status`: what the rows of the regions tell, and what they cannot. */
import { stripVTControlCharacters } from 'node:util'
import { expect, test, vi } from 'vitest'
import { schemaVersion } from '../../src/commit/bookkeeping.ts'
import { createIndexer, memorySource } from '../../src/index.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { createWorld, numbered, row, setRow, watch, type World } from '../support/indexers.ts'
import { tailrace } from './command.ts'
import { addSnapshots } from './region-rows.ts'

// each command is a process that compiles itself: half a second of a processor that others use, too
vi.setConfig({ testTimeout: 120_000 })

const handlers = { tables: { row }, handle: setRow }

async function indexed(world: World, name: string): Promise<void> {
  const source = memorySource({ id: 'm', blocks: numbered(5) })
  await createIndexer({ name, source, ...handlers, store: world.store }).run()
}

async function text(world: World, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await tailrace(['status', ...args], {
    DATABASE_URL: world.connectionString,
  })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

async function regionsOf(world: World, name: string): Promise<unknown> {
  const found = JSON.parse(await text(world, name, '--json')) as { pipelines: { regions: unknown }[] }
  return found.pipelines[0]!.regions
}

/** The lines of the section, without their margin. */
function section(stdout: string): string[] {
  const lines = stdout.split('\n')
  const from = lines.findIndex((line) => line.startsWith('  regions '))
  if (from === -1) return []
  const rest = lines.slice(from + 1)
  const to = rest.findIndex((line) => !line.startsWith(' '.repeat(12)))
  return [lines[from]!, ...rest.slice(0, to)].map((line) => line.slice(12))
}

const some = expect.any(Number) as number
const iso = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string

test('delivered, waiting, emptied: the highest checkpoint and seq is the current one, ages are by the database', async () => {
  await using world = await createWorld()
  for (const name of ['p', 'plain']) await indexed(world, name)
  await addSnapshots(world, 'p', [
    { region: 'ok', checkpoint: 4, seq: 1, deliveredHoursAgo: 10 },
    { region: 'ok', checkpoint: 5, deliveredHoursAgo: 4 },
    { region: 'overtaken', checkpoint: 3 },
    { region: 'overtaken', checkpoint: 5, seq: 0 },
    { region: 'overtaken', checkpoint: 5, seq: 1, deliveredHoursAgo: 4 },
    { region: 'late', checkpoint: 9, deliveredHoursAgo: 10, commit: 1 },
    { region: 'late', checkpoint: 10, committedHoursAgo: 6, commit: 2 },
    { region: 'late', checkpoint: 1_000, committedHoursAgo: 5, commit: 3 },
    { region: 'emptied', checkpoint: 2, body: null, deliveredHoursAgo: 4 },
    { region: 'emptying', checkpoint: 2, body: null, committedHoursAgo: 5 },
  ])
  expect(section(await text(world, 'p'))).toEqual([
    'emptied   · none    · checkpoint 2     · delivered 4 h ago',
    'emptying  · waiting · checkpoint 2     · for 5 h · 1 undelivered · to be emptied',
    'late      · waiting · checkpoint 1,000 · for 5 h · 2 undelivered · last delivered 10 h ago',
    'ok        · ok      · checkpoint 5     · delivered 4 h ago',
    'overtaken · ok      · checkpoint 5     · 2 overtaken · delivered 4 h ago',
  ])
  // one that publishes nothing has no such section
  expect(section(await text(world, 'plain'))).toEqual([])
  expect(await regionsOf(world, 'plain')).toEqual([])
  const found = await regionsOf(world, 'p')
  expect(found).toMatchObject([
    { id: 'emptied', state: 'none', tombstone: true, undelivered: 0, waitingMs: null },
    { id: 'emptying', state: 'waiting', tombstone: true, delivered: { at: null, ageMs: null } },
    {},
    { id: 'ok', state: 'ok', checkpoint: '5', undelivered: 0, waitingMs: null },
    { id: 'overtaken', state: 'ok', snapshot: 'overtaken-5-1', undelivered: 2 },
  ])
  const [, , late] = found as { waitingMs: number; delivered: { ageMs: number } }[]
  expect(late).toEqual({
    id: 'late',
    state: 'waiting',
    checkpoint: '1000',
    commitNumber: '3',
    snapshot: 'late-1000-0',
    tombstone: false,
    undelivered: 2,
    waitingMs: some,
    delivered: { at: iso, ageMs: some },
  })
  expect(late!.waitingMs).toBeGreaterThanOrEqual(5 * 3_600_000)
  expect(late!.delivered.ageMs).toBeGreaterThanOrEqual(10 * 3_600_000)
})

test('while it runs, what the last commit published waits for its mark, which is said; at its end it is ok', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 3 })
  chain.append(numbered(4))
  const indexer = createIndexer({
    name: 'p',
    source: chain.source,
    ...handlers,
    handleBlock: ({ number }, { region }) => {
      if (number === 4) region('north').publish({ at: number })
    },
    store: world.store,
    regions: memoryRegions(),
  })
  const events = watch(indexer)
  const settled = new Promise((resolve) => indexer.on('region.settled', resolve))
  const ended = indexer.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 4n)
  await settled
  const [north, note] = section(await text(world))
  expect(north).toMatch(/^north · waiting · checkpoint 4 · for [\d.]+ s · 1 undelivered$/)
  expect(note).toBe('a delivery is marked by the next commit')
  await indexer.stop()
  expect(await ended).toMatchObject({ status: 'stopped' })
  expect(section(await text(world))).toEqual([
    expect.stringMatching(/^north · ok · checkpoint 4 · delivered [\d.]+ s ago$/),
  ])
})

test('more than twelve: how many are in each state, then those that wait; JSON has all', async () => {
  await using world = await createWorld()
  await indexed(world, 'p')
  const names = Array.from({ length: 12 }, (_, at) => `r${String(at).padStart(2, '0')}`)
  await addSnapshots(
    world,
    'p',
    names.map((region, at) => ({
      region,
      checkpoint: 5,
      committedHoursAgo: 5,
      ...(at === 3 || at === 8 ? {} : { deliveredHoursAgo: 4 }),
    })),
  )
  expect(section(await text(world)).map((line) => line.slice(0, 3))).toEqual(names)
  await addSnapshots(world, 'p', [{ region: 'z', checkpoint: 5, body: null, deliveredHoursAgo: 4 }])
  expect(section(await text(world))).toEqual([
    '13 regions · 10 ok · 2 waiting · 1 none',
    'r03 · waiting · checkpoint 5 · for 5 h · 1 undelivered',
    'r08 · waiting · checkpoint 5 · for 5 h · 1 undelivered',
  ])
  expect(await regionsOf(world, 'p')).toHaveLength(13)
  await world.query('UPDATE tailrace.regions SET delivered_at = clock_timestamp()')
  expect(section(await text(world))).toEqual(['13 regions · 12 ok · 1 none'])
})

test('what waits is yellow', async () => {
  await using world = await createWorld()
  await indexed(world, 'p')
  await addSnapshots(world, 'p', [
    { region: 'a', checkpoint: 5, deliveredHoursAgo: 4 },
    { region: 'b', checkpoint: 5, committedHoursAgo: 5 },
  ])
  const env = { DATABASE_URL: world.connectionString, FORCE_COLOR: '1' }
  const { stdout } = await tailrace(['status'], env)
  for (const words of ['\u001B[33mwaiting', '\u001B[33m1 undelivered', '\u001B[32mok']) {
    expect(stdout).toContain(words)
  }
  expect(section(stripVTControlCharacters(stdout))).toEqual([
    'a · ok      · checkpoint 5 · delivered 4 h ago',
    'b · waiting · checkpoint 5 · for 5 h · 1 undelivered',
  ])
})

test('a database of before there were regions is shown as it is; what would change it is refused', async () => {
  await using world = await createWorld()
  await indexed(world, 'p')
  await world.query('DROP TABLE tailrace.regions; ALTER TABLE tailrace.pipelines DROP COLUMN incarnation')
  await world.query('UPDATE tailrace.meta SET version = 2')
  const stdout = await text(world)
  expect(stdout).toMatch(/^ {2}p {9}○ free$/m)
  expect(stdout).toMatch(/^ {2}committed checkpoint 5 · /m)
  expect(stdout).not.toContain('regions')
  expect(JSON.parse(await text(world, '--json'))).toMatchObject({
    schemaVersion: 2,
    pipelines: [{ name: 'p', committed: { checkpoint: '5' }, regions: [] }],
  })
  const before = await world.pipeline('p')
  for (const args of [
    ['release', 'p', '--yes'],
    ['reset', 'p', '--confirm', 'p'],
  ]) {
    const { code, stderr } = await tailrace(args, { DATABASE_URL: world.connectionString })
    expect(code).toBe(1)
    expect(stderr).toContain(`is at version 2, this command needs ${schemaVersion}. Run an indexer of this`)
  }
  expect(await world.pipeline('p')).toEqual(before)
})
