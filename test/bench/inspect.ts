/**
 * What it costs to be looked at: the runs of the overlap benchmark with nobody looking, with a viewer that came and left
 * before the run, with a viewer from its beginning to its end, and recorded into a file. Alternating, in one process; the
 * viewer is a process of its own, as a browser is.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Indexer } from '../../src/index.ts'
import { inspectableOf } from '../../src/inspect/inspectable.ts'
import { inspect, type Inspector } from '../../src/inspect/index.ts'
import { TraceRecording } from '../../src/inspect/trace-recording.ts'
import { withDatabase } from './overlap/database.ts'
import { Measure, type Ran } from './overlap/measure.ts'
import { columns, median, spread } from './overlap/statistics.ts'
import { findWorkload, largeWorkload, memoryWorkload } from './overlap/workload.ts'

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5)
const bound = 1.05

type Way = 'nobody' | 'left' | 'viewer' | 'recorded'
const ways: readonly Way[] = ['nobody', 'left', 'viewer', 'recorded']
const names: Readonly<Record<Way, string>> = {
  nobody: 'nobody looks',
  left: 'a viewer came and left',
  viewer: 'a viewer looks',
  recorded: 'recorded into a file',
}

type Round = Readonly<Record<Way, Ran>>

/** Says when it is there, and reads until it is killed. */
const viewer = `require('node:http').get(process.argv[1] + 'events', (response) => {
  response.once('data', () => process.stdout.write('here'))
  response.resume()
})`

/** `npm run bench -- inspect [part of a case's name …]` */
export async function inspected(only: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-bench-'))
  try {
    await withDatabase(async (database) => {
      console.log(
        `Node ${process.version}, PostgreSQL ${database.serverVersion}, ${rounds} rounds after one to warm up.`,
      )
      console.log('Milliseconds: median (least–most).\n')
      const cases = [memoryWorkload(32, 1_000, 3), findWorkload(32, 200, 8), largeWorkload(16, 9_000)]
      const many = { ...memoryWorkload(600, 20, 3), name: '600 batches of 20' }
      for (const workload of [...cases, many]) {
        if (only.length > 0 && !only.some((part) => workload.name.includes(part))) continue
        const measure = new Measure(database, database.connectionString, workload)
        const results: Round[] = []
        for (let round = 0; round <= rounds; round++) results.push(await oneRound(measure, folder, round))
        report(workload.name, results.slice(1))
      }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Each round begins with another of them: whatever a run leaves behind falls on all. */
async function oneRound(measure: Measure, folder: string, round: number): Promise<Round> {
  const ran: Partial<Record<Way, Ran>> = {}
  for (let step = 0; step < ways.length; step++) {
    const way = ways[(round + step) % ways.length]!
    const undo: (() => Promise<unknown>)[] = []
    ran[way] = await measure.pipelined({}, (indexer) => prepare(indexer, way, folder, undo))
    for (const last of undo.toReversed()) await last()
  }
  return ran as Round
}

async function prepare(
  indexer: Indexer,
  way: Way,
  folder: string,
  undo: (() => Promise<unknown>)[],
): Promise<void> {
  if (way === 'recorded') {
    const trace = new TraceRecording(inspectableOf(indexer), { file: join(folder, 'trace.jsonl') })
    trace.begin()
    undo.push(() => trace.end())
    return
  }
  if (way === 'nobody') return
  const inspector = await inspect(indexer)
  undo.push(() => inspector.close())
  const process = await aViewer(inspector)
  if (way === 'viewer') undo.push(() => gone(process))
  else await gone(process)
}

async function aViewer({ url }: Inspector): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', viewer, url], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return child
}

async function gone(child: ChildProcess): Promise<void> {
  child.kill()
  await once(child, 'exit')
}

function report(name: string, results: readonly Round[]): void {
  const of = (way: Way, term: (ran: Ran) => number) => results.map((round) => term(round[way]))
  const wall = ({ wallMs }: Ran) => wallMs
  // what it costs on a busy machine, too: the wall has whatever else the machine did
  const thread = ({ thread: { onProcessorMs } }: Ran) => onProcessorMs
  // by the round: neighbours in time
  const ratio = (way: Way, term = wall) =>
    median(results.map((round) => term(round[way]) / term(round.nobody)))
  console.log(`${name}; load ${loadavg()[0]!.toFixed(1)}`)
  console.log(
    columns([
      ['', 'wall', 'ratio', 'main thread on a processor', 'ratio'],
      ...ways.map((way) => [
        `  ${names[way]}`,
        spread(of(way, wall)),
        ratio(way).toFixed(3),
        spread(of(way, thread)),
        ratio(way, thread).toFixed(3),
      ]),
    ]),
  )
  const verdict = (way: Way, limit: number) =>
    `${ratio(way) <= limit ? 'PASS' : 'FAIL'}: ${names[way]}, ${ratio(way).toFixed(3)} against ${limit.toFixed(2)}`
  console.log(`  ${verdict('viewer', bound)}\n  ${verdict('left', 1.01)}\n`)
}
