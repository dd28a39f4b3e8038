/**
 * `npm run demo`: a real chain with a real ERC-20, indexed into a real Postgres while it grows and reorganises; then
 * every balance is compared with the chain's own, and every region with the rows. Exits with 0 only when all of it agrees.
 *
 *   --inspect                  a page that shows the run, slowed enough to watch; it stays open until Ctrl-C
 *   DATABASE_URL               your Postgres instead of one from npm (schema `tailrace_demo` is dropped and made anew)
 *   REDIS_URL                  your Redis instead of a server found in PATH (keys `tailrace-demo:*`, for an hour)
 *   RPC_URL, TOKEN_ADDRESS     your chain and token instead of one made here
 *   FROM_BLOCK, TO_BLOCK       the range of it; by default 200 blocks that are settled
 */
import { exitCode } from 'tailrace'
import { postgres } from 'tailrace/postgres'
import { Board } from './board.ts'
import { makeChain, openChain, type Chain } from './chain.ts'
import { embeddedDatabase, givenDatabase, slowReader } from './database.ts'
import { erc20Indexer } from './indexer.ts'
import { Interrupted, Interrupts } from './interrupts.ts'
import { Lanes } from './lanes.ts'
import { Live, liveBlocks } from './live.ts'
import { Progress } from './progress.ts'
import { givenRedis, ownRedis } from './publisher.ts'
import { reportChecks, reportOutcome, reportReorgs, reportStalls } from './report.ts'
import { bar, bold, count, cyan, fact, liveLine, red, say } from './terminal.ts'
import { verify } from './verify.ts'
import { watchedPaceMs, watching } from './watching.ts'

const isInspected = process.argv.includes('--inspect')
const env = (name: string): string | undefined => process.env[name] || undefined

async function main(interrupts: Interrupts): Promise<number> {
  say()
  say(`  ${bold('tailrace')}  ERC-20 balances, allowances and events → Postgres; a snapshot a desk → Redis`)
  say()

  const redisUrl = env('REDIS_URL')
  await using publishing = redisUrl === undefined ? await ownRedis() : await givenRedis(redisUrl)
  await using chain = await chainFor(interrupts.signal)
  fact('chain', chain.description)
  const next = chain.live === undefined ? '' : `, and the next ${liveBlocks} as they come`
  fact('token', `${chain.token}, blocks ${count(chain.fromBlock)} to ${count(chain.head)}${next}`)
  const databaseUrl = env('DATABASE_URL')
  await using database =
    databaseUrl === undefined ? await embeddedDatabase() : await givenDatabase(databaseUrl)
  fact('store', database.description)
  fact('regions', publishing.description)
  say()

  const progress = new Progress(chain.fromBlock, chain.toBlock)
  const lanes = new Lanes()
  const board = new Board()
  const store = postgres({ connectionString: database.connectionString, createTables: true })
  const indexer = erc20Indexer(
    chain,
    store,
    publishing.publisher,
    (block, checkpoint) => {
      progress.reached(block.number)
      live?.handled(block, checkpoint)
    },
    isInspected ? watchedPaceMs : 0,
  )
  const live =
    chain.live &&
    new Live({
      traffic: chain.live,
      indexer,
      holdCommits: () => slowReader(database.connectionString),
      note: (what) => (progress.note = what),
      signal: interrupts.signal,
    })
  await using inspector = isInspected ? await watching(indexer) : undefined
  progress.follow(indexer)
  lanes.follow(indexer)
  board.follow(indexer)
  interrupts.onSecond(() => void indexer.abort('interrupted twice'))

  const stopping = new AbortController()
  const running = indexer.run({ signal: stopping.signal })
  interrupts.onFirst(async () => {
    await live?.settled()
    stopping.abort()
  })
  await (live?.backlog(running) ?? running)
  const backlog = progress.totals(indexer)
  lanes.end()
  await live?.follow()
  const outcome = await running
  interrupts.onSecond(() => process.exit(1))
  progress.end()

  reportOutcome(outcome)
  if (outcome.status === 'failed' || outcome.status === 'superseded') return exitCode(outcome)
  lanes.print()
  reportStalls(backlog)
  reportReorgs(live?.reorgs ?? [])
  board.print(outcome)

  const began = performance.now()
  const isComplete = outcome.status === 'finished'
  const verification = await verify(chain, database.connectionString, publishing.publisher, isComplete)
  const isSound = reportChecks(verification, performance.now() - began)
  if (database.remains !== undefined) fact('left', database.remains)
  if (publishing.remains !== undefined) fact('left', publishing.remains)
  say()
  await inspector?.until(interrupts.signal)
  return isSound ? exitCode(outcome) : 1
}

async function chainFor(signal: AbortSignal): Promise<Chain> {
  const rpcUrl = env('RPC_URL')
  const token = env('TOKEN_ADDRESS')
  if (rpcUrl !== undefined && token !== undefined) {
    return openChain({ rpcUrl, token, fromBlock: env('FROM_BLOCK'), toBlock: env('TO_BLOCK') })
  }
  if (rpcUrl !== undefined || token !== undefined) {
    throw new Error('RPC_URL and TOKEN_ADDRESS go together: give both, or neither for a chain made here')
  }
  let made = { blocks: 0, of: 0 }
  const line = liveLine(
    () =>
      `  ${bar([{ value: made.blocks, paint: cyan }], made.of)} ${count(made.blocks)}/${count(made.of)} blocks mined`,
  )
  try {
    return await makeChain(signal, (blocks, of) => {
      made = { blocks, of }
    })
  } finally {
    line.end('erase')
  }
}

try {
  process.exitCode = await main(new Interrupts())
} catch (error) {
  say()
  fact('error', error instanceof Interrupted ? error.message : red(String(error)))
  say()
  process.exitCode = error instanceof Interrupted ? 130 : 1
}
