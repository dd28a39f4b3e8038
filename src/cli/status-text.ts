/** How `tailrace status` looks to a person. */
import type { Ownership } from './queries.ts'
import { regionLines } from './region-text.ts'
import type { PipelineStatus, Status } from './status.ts'
import {
  bytes,
  count,
  dim,
  duration,
  fact,
  green,
  hashFor,
  moment,
  plural,
  titled,
  yellow,
} from './terminal.ts'

/** @param width of the terminal; Infinity: there is none, nothing is abridged */
export function statusLines({ database, pipelines, history, at }: Status, width: number): string[] {
  const lines = ['', ...heading(database, pipelines.length, width)]
  for (const pipeline of pipelines) lines.push('', ...pipelineLines(pipeline, at, width))
  if (history.length > 0) {
    lines.push('', ...fact('history', ['images for forks, of every pipeline'], width))
    const longest = Math.max(...history.map(({ table }) => table.length))
    for (const { table, armed, bytes: size } of history) {
      const name = width === Infinity ? table.padEnd(longest) : table
      const images = size === 0n ? 'no images' : `${bytes(size)} of images`
      lines.push(...fact('', [name, armed ? 'triggers armed' : 'triggers off', images], width))
    }
  }
  return [...lines, '']
}

function heading(database: string, pipelines: number, width: number): string[] {
  return fact('', [database, pipelines === 0 ? 'no pipelines' : plural(pipelines, 'pipeline')], width).map(
    (line, index) => (index === 0 ? titled('tailrace', line.trimStart()) : line),
  )
}

function pipelineLines(pipeline: PipelineStatus, at: Date, width: number): string[] {
  const { name, ownership, committed, commitNumber, committedAt, committedAgeMs, counter } = pipeline
  const lines = [titled(name, mark(ownership))]
  if (ownership.owner !== null) lines.push(...fact('owner', ownerParts(ownership, at), width))
  lines.push(...fact('epoch', [count(ownership.epoch)], width))
  const parts = [`checkpoint ${count(committed)}`, `commit ${count(commitNumber)}`]
  if (committedAt === null) parts.push('nothing committed yet')
  else parts.push(`${duration(committedAgeMs ?? 0)} ago`, dim(moment(committedAt)))
  lines.push(...fact('committed', parts, width))
  const { restorableFrom } = pipeline
  if (restorableFrom < committed) {
    const back = plural(Number(committed - restorableFrom), 'checkpoint')
    lines.push(...fact('rollback', [`down to checkpoint ${count(restorableFrom)}`, `${back} back`], width))
  }
  // after a rollback ids go on above what they were
  if (counter > committed) lines.push(...fact('used', [`checkpoints up to ${count(counter)}`], width))
  return [...lines, ...sourceLines(pipeline, width), ...regionLines(pipeline, width)]
}

function sourceLines({ sources }: PipelineStatus, width: number): string[] {
  if (sources.length === 0) return fact('sources', ['no position yet'], width)
  const idWidth = Math.max(...sources.map(({ source }) => source.length))
  return sources.flatMap(({ source, number, hash, cursor, checkpoint }, index) => {
    const parts = [source.padEnd(Math.min(idWidth, 24)), `block ${count(number)}`]
    if (hash !== number.toString()) parts.push(hashFor(width, hash))
    if (cursor !== null) parts.push(`cursor ${hashFor(width, cursor)}`)
    parts.push(`checkpoint ${count(checkpoint)}`)
    return fact(index === 0 ? 'sources' : '', parts, width)
  })
}

function mark({ state }: Ownership): string {
  switch (state) {
    case 'free':
      return dim('○ free')
    case 'running':
      return green('● running')
    case 'silent':
      return yellow('● silent')
    case 'gone':
      return yellow('● owner gone')
    default:
      throw new Error(`unreachable: ${String(state satisfies never)}`)
  }
}

/** Who holds a pipeline, and what is known of it. */
export function ownerParts({ owner, state }: Ownership, at: Date): string[] {
  if (owner === null) return ['nobody']
  const parts = [`process ${owner.pid ?? '?'} on ${owner.host ?? '?'}`]
  if (owner.since !== null) {
    parts.push(`for ${duration(at.getTime() - owner.since.getTime())}`, dim(`since ${moment(owner.since)}`))
  }
  if (state === 'silent') parts.push(`not heard of for ${duration(owner.silentMs)}`)
  if (state === 'gone') parts.push('its connection has ended; the next run takes over')
  return parts
}
