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
import { withDatabase, type BenchDatabase } from './overlap/database.ts'
import { Measure, type Staged } from './overlap/measure.ts'
import { columns, median, spread } from './overlap/statistics.ts'
import { findWorkload, largeWorkload, memoryWorkload, type Workload } from './overlap/workload.ts'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const oneWayMs = 5
const bound = 1.1

interface Round {
  readonly compute: number
  readonly commit: number
  readonly mainThread: number
  readonly sequential: number
  readonly pipelined: number
  readonly overlapRatio: number
}

export async function overlap(): Promise<void> {
  const wanted = process.argv.slice(3)
  await withDatabase(async (database) => {
    const { hostname, port } = new URL(database.connectionString)
    await using proxy = await startTcpProxy({
      target: { host: hostname, port: Number(port === '' ? 5432 : port) },
      delayMs: { up: oneWayMs, down: oneWayMs },
    })
    const networks = [
      ['loopback', database.connectionString],
      [`${2 * oneWayMs} ms round trip`, proxy.through(database.connectionString)],
    ] as const
    console.log(
      `Node ${process.version}, PostgreSQL ${database.serverVersion}, ${rounds} rounds after one to warm up,`,
    )
    console.log(`load ${loadavg()[0]!.toFixed(2)}; milliseconds: median (least–most)\n`)
    for (const workload of [memoryWorkload(32, 1_200, 3), findWorkload(32, 250, 8), largeWorkload(20, 9_000)]) {
      const staged = await new Measure(database, database.connectionString, workload).stage()
      for (const [network, connectionString] of networks) {
        const name = `${workload.name}, ${network}`
        if (wanted.length > 0 && !wanted.some((part) => name.includes(part))) continue
        await reportCase(name, database, connectionString, workload, staged)
      }
    }
  })
}

async function reportCase(
  name: string,
  database: BenchDatabase,
  connectionString: string,
  workload: Workload,
  staged: Staged,
): Promise<void> {
  const measure = new Measure(database, connectionString, workload)
  const results: Round[] = []
  for (let round = 0; round <= rounds; round++) {
    const result = await oneRound(measure, staged)
    if (round > 0) results.push(result)
  }
  const coalesced = await measure.pipelined({ groupLatencyMs: 1_000 })
  report(name, staged, results, coalesced.wallMs)
}

/** Neighbours in time, so that whatever else the machine does falls on all of them. */
async function oneRound(measure: Measure, staged: Staged): Promise<Round> {
  const compute = await measure.compute()
  const sequential = await measure.sequential()
  const commit = await measure.commit(staged)
  const pipelined = await measure.pipelined()
  return {
    compute: compute.wallMs,
    commit: commit.wallMs,
    mainThread: commit.mainThreadMs,
    sequential: sequential.wallMs,
    pipelined: pipelined.wallMs,
    overlapRatio: pipelined.overlapRatio,
  }
}

function report(name: string, { groups }: Staged, results: readonly Round[], coalescedMs: number): void {
  const of = (term: (round: Round) => number) => results.map(term)
  const limit = (round: Round) => Math.max(round.compute + round.mainThread, round.commit)
  const rows = groups.reduce((sum, group) => sum + group.rows, 0)
  const ratio = median(of((round) => round.pipelined / limit(round)))
  const lines: (readonly [string, readonly number[], number])[] = [
    ['compute', of((round) => round.compute), 0],
    ["the commit's main-thread time", of((round) => round.mainThread), 0],
    ['commit wall', of((round) => round.commit), 0],
    ['sequential wall', of((round) => round.sequential), 0],
    ['pipelined wall', of((round) => round.pipelined), 0],
    ['compute / commit wall', of((round) => round.compute / round.commit), 2],
    [
      'sequential / (compute + commit wall)',
      of((round) => round.sequential / (round.compute + round.commit)),
      2,
    ],
    ['sequential / pipelined', of((round) => round.sequential / round.pipelined), 2],
    ['overlapRatio', of((round) => round.overlapRatio), 2],
    ['pipelined / max(compute + main thread, commit wall)', of((round) => round.pipelined / limit(round)), 2],
  ]
  console.log(`${name}: ${groups.length} batches, ${rows} rows, load ${loadavg()[0]!.toFixed(2)}`)
  console.log(columns(lines.map(([term, values, digits]) => [`  ${term}`, spread(values, digits)])))
  console.log(`  ${ratio <= bound ? 'PASS' : 'FAIL'}: ${ratio.toFixed(2)} against ${bound.toFixed(2)}`)
  console.log(
    `  beside this, coalescing (groupLatencyMs 1000): pipelined wall ${coalescedMs.toFixed(0)}, ` +
      `${(coalescedMs / median(of((round) => round.pipelined))).toFixed(2)} × one batch a commit\n`,
  )
}
