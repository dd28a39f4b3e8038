/** What the lanes are doing, read off the chart: for stall attribution and for `status()`. */
import type { SnapshotFrom } from 'xstate'
import type { indexerMachine } from '../../machines/indexer.machine.ts'
import type { IndexerStatus } from '../status.ts'
import type { CommitDoing, ComputeDoing } from './stalls.ts'

export type IndexerSnapshot = SnapshotFrom<typeof indexerMachine>

/** `cpu.handling` instead of `{ cpu: 'handling' }`. */
function pathOf(value: unknown): string {
  if (typeof value === 'string') return value
  const [entry] = Object.entries(value as Record<string, unknown>)
  return entry === undefined ? '' : `${entry[0]}.${pathOf(entry[1])}`
}

export function lanesOf(snapshot: IndexerSnapshot): NonNullable<IndexerStatus['lanes']> | undefined {
  const { value } = snapshot
  if (typeof value !== 'object' || !('active' in value)) return undefined
  const lanes = value.active as Record<'control' | 'source' | 'compute' | 'commit' | 'publish', unknown>
  return {
    control: pathOf(lanes.control),
    source: pathOf(lanes.source),
    compute: pathOf(lanes.compute),
    commit: pathOf(lanes.commit),
    publish: pathOf(lanes.publish),
  }
}

const computeDoings: Readonly<Record<string, ComputeDoing>> = {
  pulling: 'pull',
  'cpu.preloading': 'preload',
  'cpu.handling': 'handle',
  handingOver: 'handOver',
  waiting: 'budget',
}

export function doingsOf(snapshot: IndexerSnapshot): readonly [ComputeDoing, CommitDoing] {
  const lanes = lanesOf(snapshot)
  if (lanes === undefined) return [snapshot.status === 'active' ? 'opening' : 'drain', 'idle']
  if (lanes.control.startsWith('rollingBack')) return ['rollback', 'rollback']
  return [computeDoings[lanes.compute] ?? 'drain', lanes.commit === 'committing' ? 'commit' : 'idle']
}

export function topState(snapshot: IndexerSnapshot): IndexerStatus['state'] {
  const { value } = snapshot
  return (typeof value === 'string' ? value : Object.keys(value)[0]) as IndexerStatus['state']
}
