/** What goes wrong is one sentence on stderr with what to do, and an exit code: 1 it failed, 2 it cannot be used so. */
import { expect, test, vi } from 'vitest'
import { createIndexer, memorySource } from '../../src/index.ts'
import { asAdmin, createDatabase } from '../support/postgres.ts'
import { createWorld, numbered, row, setRow, type World } from '../support/indexers.ts'
import { tailrace } from './command.ts'

// each command is a process that compiles itself: half a second of a processor that others use, too
vi.setConfig({ testTimeout: 120_000 })

async function failure(
  args: readonly string[],
  databaseUrl?: string,
): Promise<{ code: number | null; stderr: string }> {
  const { code, stdout, stderr } = await tailrace(
    args,
    databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl },
  )
  expect(stdout).toBe('')
  expect(stderr).not.toMatch(/^\s+at /m)
  return { code, stderr: stderr.trimEnd() }
}

async function indexed(world: World): Promise<void> {
  const source = memorySource({ id: 'm', blocks: numbered(3) })
  await createIndexer({ name: 'done', source, tables: { row }, handle: setRow, store: world.store }).run()
}

test.each([
  [undefined, 'DATABASE_URL is not set. Give the database'],
  ['', 'DATABASE_URL is not set. Give the database'],
  ['mysql://root:hunter2@localhost/app', 'DATABASE_URL must begin with postgres://'],
  ['postgres://app:hunter2%@localhost:port/app', 'DATABASE_URL cannot be read as postgres://'],
])('DATABASE_URL %s', async (url, said) => {
  const { code, stderr } = await failure(['status'], url)
  expect(code).toBe(2)
  expect(stderr.startsWith(`tailrace: ${said}`), stderr).toBe(true)
  expect(stderr).not.toContain('hunter2')
})

test('nobody listens, nobody by that name, no such database', async () => {
  await using database = await createDatabase()
  const unreachable = await failure(['status'], 'postgres://app:hunter2@127.0.0.1:9/app')
  expect(unreachable).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^tailrace: Cannot connect to Postgres at app@127\.0\.0\.1:9\/app: .*Is the server running, and is DATABASE_URL right\?$/,
    ) as string,
  })
  const stranger = new URL(database.connectionString)
  stranger.username = 'nobody_by_that_name'
  stranger.password = 'hunter2'
  const refused = await failure(['status'], stranger.href)
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(
    /^tailrace: Postgres at nobody_by_that_name@.* refused the login: .*Check user and password in DATABASE_URL\.$/,
  )
  expect(refused.stderr).not.toContain('hunter2')
  const elsewhere = new URL(database.connectionString)
  elsewhere.pathname = '/no_such_database'
  const missing = await failure(['status'], elsewhere.href)
  expect(missing.code).toBe(1)
  expect(missing.stderr).toContain('Create the database, or correct its name in DATABASE_URL.')
})

test('no pipeline has run there', async () => {
  await using database = await createDatabase()
  for (const args of [['status'], ['release', 'done'], ['reset', 'done', '--confirm', 'done']]) {
    const { code, stderr } = await failure(args, database.connectionString)
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^tailrace: No pipeline has run in .*: it has no schema tailrace\. Is DATABASE_URL/,
    )
  }
})

test('its schema is of another version', async () => {
  await using world = await createWorld()
  await indexed(world)
  await world.query('UPDATE tailrace.meta SET version = 999')
  const newer = await failure(['release', 'done'], world.connectionString)
  expect(newer.code).toBe(1)
  expect(newer.stderr).toMatch(
    /is at version 999, this command knows up to \d+\. Use the tailrace that your indexer uses\.$/,
  )
  await world.query('UPDATE tailrace.meta SET version = 1')
  const older = await failure(['status'], world.connectionString)
  expect(older.code).toBe(1)
  expect(older.stderr).toMatch(
    /is at version 1, this command needs \d+\. Run an indexer of this version once/,
  )
})

test.each([['status'], ['release'], ['reset']])(
  '%s of an unknown pipeline names those that are there',
  async (command) => {
    await using world = await createWorld()
    await indexed(world)
    const { code, stderr } = await failure([command, 'nope'], world.connectionString)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^tailrace: There is no pipeline 'nope' in .*\. It has 'done'\.$/)
  },
)

test('a role that may not read: said so, with what to do', async () => {
  await using world = await createWorld()
  await indexed(world)
  const role = `reader_${new URL(world.connectionString).pathname.slice(-12)}`
  await asAdmin(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
  try {
    const url = new URL(world.connectionString)
    url.username = role
    url.password = 'secret'
    const { code, stderr } = await failure(['status'], url.href)
    expect(code).toBe(1)
    expect(stderr).toMatch(/refused: permission denied for schema tailrace\. Use a role that may do this/)
    await world.query(`GRANT USAGE ON SCHEMA tailrace TO ${role}`)
    await world.query(`GRANT SELECT ON ALL TABLES IN SCHEMA tailrace TO ${role}`)
    // reading is enough for a look
    expect((await tailrace(['status'], { DATABASE_URL: url.href })).stdout).toContain('○ free')
    const reset = await failure(['reset', 'done', '--confirm', 'done'], url.href)
    expect(reset.code).toBe(1)
    expect(reset.stderr).toContain('permission denied for table')
    expect(await world.pipeline('done')).toMatchObject({ committed: 3 })
  } finally {
    await world.query(`DROP OWNED BY ${role}`)
    await asAdmin(`DROP ROLE ${role}`)
  }
})

test('the command line', async () => {
  const url = 'postgres://app@127.0.0.1:9/app'
  expect(await failure(['stats'], url)).toEqual({
    code: 2,
    stderr: "tailrace: unknown command 'stats'\n(Did you mean status?)\n(--help says more)",
  })
  expect(await failure(['release'], url)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("missing required argument 'name'") as string,
  })
  expect(await failure(['reset', 'a', 'b'], url)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("too many arguments for 'reset'") as string,
  })
  expect((await failure(['status', '--watch'], url)).stderr).toContain("unknown option '--watch'")
  expect((await failure(['reset', 'a', '--tables', 'a,,b'], url)).stderr).toContain(
    'Give names with commas between them',
  )
  const bare = await failure([], url)
  expect(bare.code).toBe(2)
  expect(bare.stderr).toMatch(/^Usage: tailrace /)
})

test('help and version need no database', async () => {
  const version = await tailrace(['--version'])
  expect(version).toMatchObject({
    code: 0,
    stderr: '',
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
  })
  const help = await tailrace(['--help'])
  expect(help).toMatchObject({ code: 0, stderr: '' })
  for (const word of ['status', 'release', 'reset', 'DATABASE_URL', 'NO_COLOR', 'Exit code:']) {
    expect(help.stdout).toContain(word)
  }
  for (const command of ['status', 'release', 'reset']) {
    const { code, stdout } = await tailrace([command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toContain(`Usage: tailrace ${command} `)
    expect(stdout).toContain(`$ tailrace ${command} `)
  }
})
