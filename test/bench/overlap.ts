/**
 * The figure that proves the idea: the same work sequentially (each commit awaited before the next batch) and
 * pipelined, with every term of the bound
 *
 *   pipelined wall ≤ 1.10 × max(compute + the commit's main-thread time, commit wall)
 *
 * measured in the same process, alternating. What each term is and how it is measured: docs/performance.md.
 */
import { loadavg } from 'node:os'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { busyCore } from './overlap/busy-core.ts'
import { withDatabase, type BenchDatabase } from './overlap/database.ts'
import { Measure, type Staged } from './overlap/measure.ts'
import { columns, median, spread } from './overlap/statistics.ts'
import { findWorkload, largeWorkload, memoryWorkload, type Workload } from './overlap/workload.ts'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const oneWayMs = 5
const bound = 1.1

interface Round {
  readonly compute: number
  /** The same while another process keeps a core busy: what any run pays that has to share the machine. */
  readonly computeShared: number
  readonly commit: number
  readonly mainThread: number
  readonly sequential: number
  readonly pipelined: number
  readonly overlapRatio: number
  /** The main thread during the pipelined run: on a processor; ready and waiting for one, of the wall time. Who had it is not
   * known: other programs, or Postgres, the proxy and V8's helper threads of this very run. */
  readonly onProcessor: number
  readonly waiting: number
}

type Network = readonly [name: string, connectionString: string]

/** `npm run bench -- overlap [part of a case's name …]` */
export async function overlap(only: readonly string[]): Promise<void> {
  const isWanted = (name: string) => only.length === 0 || only.some((part) => name.includes(part))
  await withDatabase(async (database) => {
    const { hostname, port } = new URL(database.connectionString)
    await using proxy = await startTcpProxy({
      target: { host: hostname, port: Number(port === '' ? 5432 : port) },
      delayMs: { up: oneWayMs, down: oneWayMs },
    })
    const networks: readonly Network[] = [
      ['loopback', database.connectionString],
      [`${2 * oneWayMs} ms round trip`, proxy.through(database.connectionString)],
    ]
    console.log(
      `Node ${process.version}, PostgreSQL ${database.serverVersion}, ${rounds} rounds after a run to warm up.`,
    )
    console.log('Milliseconds: median (least–most).\n')
    for (const workload of [
      memoryWorkload(64, 1_000, 3),
      findWorkload(64, 200, 8),
      largeWorkload(32, 9_000),
    ]) {
      const named = networks.filter(([network]) => isWanted(`${workload.name}, ${network}`))
      if (named.length === 0) continue
      const staged = await new Measure(database, database.connectionString, workload).stage()
      for (const network of named) await reportCase(database, network, workload, staged)
    }
    for (const network of networks) {
      if (isWanted(`coalescing, ${network[0]}`)) await reportCoalescing(database, network)
    }
  })
}

async function reportCase(
  database: BenchDatabase,
  [network, connectionString]: Network,
  workload: Workload,
  staged: Staged,
): Promise<void> {
  const measure = new Measure(database, connectionString, workload)
  const results: Round[] = []
  await measure.pipelined()
  for (let round = 0; round < rounds; round++) results.push(await oneRound(measure, staged))
  const of = (term: (round: Round) => number) => results.map(term)
  const least = (term: (round: Round) => number) => Math.min(...of(term))
  const limit = ({ compute, mainThread, commit }: Pick<Round, 'compute' | 'mainThread' | 'commit'>) =>
    Math.max(compute + mainThread, commit)
  const lines: readonly (readonly [string, readonly number[], number])[] = [
    ['compute', of((round) => round.compute), 0],
    ['compute beside a busy core', of((round) => round.computeShared), 0],
    ["the commit's main-thread time", of((round) => round.mainThread), 0],
    ['commit wall', of((round) => round.commit), 0],
    ['sequential wall', of((round) => round.sequential), 0],
    ['pipelined wall', of((round) => round.pipelined), 0],
    ['compute beside a busy core / compute', of((round) => round.computeShared / round.compute), 2],
    ['compute / commit wall', of((round) => round.compute / round.commit), 2],
    ['  pipelined: main thread on a processor', of((round) => round.onProcessor), 0],
    ['    ready and waiting for one, % of wall', of((round) => 100 * round.waiting), 0],
    ['overlapRatio', of((round) => round.overlapRatio), 2],
    ['sequential / pipelined', of((round) => round.sequential / round.pipelined), 2],
    [
      'sequential / (compute + commit wall)',
      of((round) => round.sequential / (round.compute + round.commit)),
      2,
    ],
    ['pipelined / max(compute + main-thread, commit wall)', of((round) => round.pipelined / limit(round)), 2],
    // not the bound either: its terms have a core each, with one to spare for what helps them
    [
      'pipelined / max(compute beside a busy core + main-thread, commit wall)',
      of((round) => round.pipelined / limit({ ...round, compute: round.computeShared })),
      2,
    ],
    // not the bound: reads meet tables that are being written, which compute beside a null store does not have in it
    [
      'pipelined / max(sequential - commit wall + main-thread, commit wall)',
      of(
        (round) =>
          round.pipelined / Math.max(round.sequential - round.commit + round.mainThread, round.commit),
      ),
      2,
    ],
  ]
  const ratio = median(of((round) => round.pipelined / limit(round)))
  // beside the verdict: terms of different rounds, each in its best moment
  const leastRatio =
    least((round) => round.pipelined) /
    limit({
      compute: least((round) => round.compute),
      mainThread: least((round) => round.mainThread),
      commit: least((round) => round.commit),
    })
  const rows = staged.groups.reduce((sum, group) => sum + group.rows, 0)
  console.log(`${workload.name}, ${network}: ${staged.groups.length} batches, ${rows} rows; load ${load()}`)
  console.log(columns(lines.map(([term, values, digits]) => [`  ${term}`, spread(values, digits)])))
  console.log(
    `  ${ratio <= bound ? 'PASS' : 'FAIL'}: ${ratio.toFixed(2)} against ${bound.toFixed(2)} (of the least of each term: ${leastRatio.toFixed(2)})\n`,
  )
}

async function computeBesideBusyCore(measure: Measure): Promise<number> {
  await using _core = await busyCore()
  return (await measure.compute()).wallMs
}

/** Neighbours in time, so that whatever else the machine does falls on all of them. */
async function oneRound(measure: Measure, staged: Staged): Promise<Round> {
  const compute = await measure.compute()
  const computeShared = await computeBesideBusyCore(measure)
  const sequential = await measure.sequential()
  const commit = await measure.commit(staged)
  const pipelined = await measure.pipelined()
  return {
    compute: compute.wallMs,
    computeShared,
    commit: commit.wallMs,
    mainThread: commit.mainThreadMs,
    sequential: sequential.wallMs,
    pipelined: pipelined.wallMs,
    overlapRatio: pipelined.overlapRatio,
    onProcessor: pipelined.thread.onProcessorMs,
    waiting: pipelined.thread.waitingMs / pipelined.wallMs,
  }
}

/** Not part of the figure: what is gained where a commit costs more than its rows. Many small batches. */
async function reportCoalescing(
  database: BenchDatabase,
  [network, connectionString]: Network,
): Promise<void> {
  const measure = new Measure(database, connectionString, memoryWorkload(150, 40, 3))
  const alone: number[] = []
  const together: number[] = []
  for (let round = 0; round < 3; round++) {
    const [one, many] = [await measure.pipelined(), await measure.pipelined({ groupLatencyMs: 1_000 })]
    alone.push(one.wallMs)
    together.push(many.wallMs)
  }
  console.log(
    `coalescing, ${network}: 150 batches of 40 items; one batch a commit ${spread(alone)}, default groupLatencyMs ` +
      `${spread(together)}, ratio ${(median(together) / median(alone)).toFixed(2)}; load ${load()}\n`,
  )
}

function load(): string {
  return loadavg()[0]!.toFixed(1)
}
