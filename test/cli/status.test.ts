/** `tailrace status`: what it says of a real database, to people and to programs. */
import { stripVTControlCharacters } from 'node:util'
import { hostname } from 'node:os'
import { integer, pgTable } from 'drizzle-orm/pg-core'
import { expect, test, vi } from 'vitest'
import { statusLines } from '../../src/cli/status-text.ts'
import type { Status } from '../../src/cli/status.ts'
import { schemaVersion } from '../../src/commit/bookkeeping.ts'
import { createIndexer, memorySource } from '../../src/index.ts'
import { simulatedChain } from '../../src/testing/index.ts'
import { createWorld, numbered, row, setRow, watch, type World } from '../support/indexers.ts'
import { abandon } from './abandoned.ts'
import { atTerminal, hasTerminal, tailrace } from './command.ts'

// each command is a process that compiles itself: half a second of a processor that others use, too
vi.setConfig({ testTimeout: 120_000 })

function pipeline(world: World, name: string, source = memorySource({ id: 'm', blocks: numbered(5) })) {
  return createIndexer({ name, source, tables: { row }, handle: setRow, store: world.store })
}

const other = pgTable('other', { id: integer().primaryKey() })

/** Has run, and writes a table of its own. */
function idlePipeline(world: World, name: string): Promise<unknown> {
  return createIndexer({
    name,
    source: memorySource({ id: 'm', blocks: numbered(5) }),
    tables: { other },
    handle: (id: number, { db }) => db.other.set({ id }),
    store: world.store,
  }).run()
}

async function document(world: World, ...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await tailrace(['status', '--json', ...args], {
    DATABASE_URL: world.connectionString,
  })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as Record<string, unknown>
}

test('one JSON document: bigints as strings, dates as ISO, nothing else on stdout', async () => {
  await using world = await createWorld()
  await pipeline(world, 'done').run()
  const found = await document(world)
  const iso = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string
  expect(found).toEqual({
    database: expect.stringMatching(/^\w+@[\w.]+:\d+\/tailrace_\w+$/) as string,
    schemaVersion,
    at: iso,
    pipelines: [
      {
        name: 'done',
        state: 'free',
        owner: null,
        epoch: '1',
        commitNumber: expect.stringMatching(/^[1-5]$/) as string,
        committed: { checkpoint: '5', at: iso, ageMs: expect.any(Number) as number },
        counter: '5',
        restorableFrom: '5',
        sources: [{ id: 'm', number: '5', hash: '5', cursor: null, checkpoint: '5', positions: '0' }],
        regions: [],
      },
    ],
    history: [],
  })
  expect(JSON.stringify(found)).not.toContain(new URL(world.connectionString).password || 'no password')
})

test('who runs, who is gone, who is free', async () => {
  await using world = await createWorld()
  const chain = simulatedChain<number>({ id: 'chain', historyDepth: 3 })
  chain.append(numbered(10))
  const running = pipeline(world, 'running', chain.source)
  const events = watch(running)
  const ended = running.run()
  await events.until('batch.committed', ({ checkpoint }) => checkpoint === 10n)
  for (const name of ['free', 'gone']) await idlePipeline(world, name)
  await abandon(world, 'gone')
  const now = await document(world)
  const states = new Map(
    (now['pipelines'] as { name: string; state: string }[]).map((each) => [each.name, each.state]),
  )
  expect(Object.fromEntries(states)).toEqual({ free: 'free', gone: 'gone', running: 'running' })

  const [live] = (await document(world, 'running'))['pipelines'] as Record<string, unknown>[]
  expect(live).toMatchObject({
    state: 'running',
    owner: { host: hostname(), pid: process.pid, silentMs: expect.any(Number) as number },
    committed: { checkpoint: '10' },
    restorableFrom: '7',
    sources: [{ id: 'chain', number: '10', checkpoint: '10', positions: '4' }],
  })
  expect(now['history']).toMatchObject([
    { table: 'public.row', armed: true, bytes: expect.stringMatching(/^[1-9]/) as string },
  ])

  const { code, stdout } = await tailrace(['status'], { DATABASE_URL: world.connectionString })
  expect(code).toBe(0)
  expect(stdout).toContain('· 3 pipelines')
  expect(stdout).toMatch(/^ {2}free {6}○ free$/m)
  expect(stdout).toMatch(/^ {2}gone {6}● owner gone$/m)
  expect(stdout).toContain('process 42 on elsewhere')
  expect(stdout).toContain('its connection has ended; the next run takes over')
  expect(stdout).toMatch(
    /^ {2}running {3}● running\n {2}owner {5}process \d+ on \S+ · for [\d.]+ s · since 2/m,
  )
  expect(stdout).toMatch(/^ {2}committed checkpoint 10 · commit \d+ · [\d.]+ s ago · 2/m)
  expect(stdout).toMatch(/^ {2}rollback {2}down to checkpoint 7 · 3 checkpoints back$/m)
  expect(stdout).toMatch(/^ {2}sources {3}chain · block 10 · chain-0-10 · checkpoint 10$/m)
  expect(stdout).toMatch(/^ {12}public\.row · triggers armed · \d+ kB of images$/m)

  const one = await tailrace(['status', 'gone'], { DATABASE_URL: world.connectionString })
  expect(one.stdout).toContain('· 1 pipeline')
  expect(one.stdout).not.toContain('running')
  await running.stop()
  expect(await ended).toMatchObject({ status: 'stopped' })
})

test('a pipeline that has never committed, and a database whose pipelines were all reset', async () => {
  await using world = await createWorld()
  await pipeline(world, 'empty', memorySource({ id: 'm', blocks: [] })).run()
  const env = { DATABASE_URL: world.connectionString }
  const { stdout } = await tailrace(['status'], env)
  expect(stdout).toMatch(/^ {2}committed checkpoint 0 · commit 0 · nothing committed yet$/m)
  expect(stdout).toMatch(/^ {2}sources {3}no position yet$/m)
  expect((await tailrace(['reset', 'empty', '--confirm', 'empty'], env)).code).toBe(0)
  expect((await tailrace(['status'], env)).stdout).toContain('· no pipelines')
  expect(await document(world)).toMatchObject({ pipelines: [], history: [] })
})

const wide: Status = {
  database: 'indexer@database.example.org:5432/production',
  schemaVersion,
  at: new Date('2026-11-21T15:00:00Z'),
  pipelines: [
    {
      name: 'token',
      commitNumber: 123_456n,
      committed: 18_600_299n,
      committedAt: new Date('2026-11-21T14:59:57Z'),
      committedAgeMs: 3_000,
      counter: 18_600_301n,
      restorableFrom: 18_600_200n,
      ownership: {
        state: 'silent',
        owner: {
          host: 'mill.example.org',
          pid: 4711,
          since: new Date('2026-11-20T09:00:00Z'),
          silentMs: 60_000,
        },
        epoch: 3n,
        token: 'x',
      },
      sources: [
        {
          pipeline: 'token',
          source: 'mainnet',
          number: 18_600_299n,
          hash: `0x${'ab12'.repeat(16)}`,
          cursor: null,
          checkpoint: 18_600_299n,
          positions: 99n,
        },
      ],
      regions: [
        {
          pipeline: 'token',
          region: 'middle-east-and-north-africa',
          state: 'waiting',
          checkpoint: 18_600_299n,
          snapshot: '1700000000000-18600299-0',
          commitNumber: 123_456n,
          isTombstone: true,
          undelivered: 12,
          waitingMs: 3_000,
          deliveredAt: new Date('2026-11-21T14:58:00Z'),
          deliveredAgeMs: 120_000,
        },
      ],
    },
  ],
  history: [{ table: 'public.account', armed: true, bytes: 1_234_567n }],
}

test('fits the terminal: parts go to the next line, hashes are cut in the middle', () => {
  const lines = (width: number) => statusLines(wide, width).map(stripVTControlCharacters)
  for (const width of [60, 80, 120, 200]) {
    expect(lines(width).filter((line) => line.length > width)).toEqual([])
  }
  expect(lines(60).length).toBeGreaterThan(lines(200).length)
  expect(lines(200).join('\n')).toContain('0xab12ab12…ab12ab12')
  expect(lines(200).join('\n')).toContain('for 30 h')
  expect(lines(200).join('\n')).toContain('not heard of for 60 s')
  expect(lines(200).join('\n')).toContain('checkpoints up to 18,600,301')
  expect(lines(200).join('\n')).toContain('to be emptied · last delivered 2 min ago')
  // no terminal: nothing is abridged, one fact a line
  expect(lines(Infinity).join('\n')).toContain(`0x${'ab12'.repeat(16)}`)
})

test('colour is for terminals, and not with NO_COLOR', async () => {
  await using world = await createWorld()
  await pipeline(world, 'done').run()
  const env = { DATABASE_URL: world.connectionString }
  const escape = '\u001B['
  const piped = await tailrace(['status'], env)
  expect(piped.stdout).not.toContain(escape)
  expect((await tailrace(['status', 'nope'], env)).stderr).not.toContain(escape)
  const forced = await tailrace(['status'], { ...env, FORCE_COLOR: '1' })
  expect(forced.stdout).toContain(escape)
  expect(stripVTControlCharacters(forced.stdout).split('\n').length).toBe(piped.stdout.split('\n').length)
  expect((await tailrace(['status', '--json'], { ...env, FORCE_COLOR: '1' })).stdout).not.toContain(escape)
})

test.skipIf(!hasTerminal)('at a terminal there is colour, and none with NO_COLOR', async () => {
  await using world = await createWorld()
  await pipeline(world, 'done').run()
  const env = { DATABASE_URL: world.connectionString }
  expect((await atTerminal(['status'], env)).screen).toContain('\u001B[1mdone')
  const plain = await atTerminal(['status'], { ...env, NO_COLOR: '1' })
  expect(plain).toMatchObject({ code: 0, screen: expect.stringContaining('○ free') as string })
  expect(plain.screen).not.toContain('\u001B[')
})
