/** How the regions of a pipeline look to a person: one line each, or, where there are many, those that wait. */
import type { Region, RegionState } from './queries.ts'
import type { PipelineStatus } from './status.ts'
import { count, dim, duration, fact, green, plural, yellow } from './terminal.ts'

const mostListed = 12
const longestName = 24

const states = { ok: green, waiting: yellow, none: dim } as const satisfies Record<
  RegionState,
  (text: string) => string
>

export function regionLines({ regions, ownership, commitNumber }: PipelineStatus, width: number): string[] {
  if (regions.length === 0) return []
  const waiting = regions.filter(({ state }) => state === 'waiting')
  const listed = regions.length > mostListed ? waiting : regions
  const summary = listed === regions ? [] : [summaryOf(regions)]
  const rows = [...summary, ...tableOf(listed)]
  // such a snapshot may well be delivered: its mark rides the next commit, or the end of the run
  if (ownership.owner !== null && waiting.some((region) => region.commitNumber === commitNumber)) {
    rows.push([dim('a delivery is marked by the next commit')])
  }
  return rows.flatMap((parts, index) => fact(index === 0 ? 'regions' : '', parts, width))
}

function summaryOf(regions: readonly Region[]): string[] {
  const counts = Object.entries(states).flatMap(([state, paint]) => {
    const found = regions.filter((region) => region.state === state).length
    return found === 0 ? [] : [paint(`${count(found)} ${state}`)]
  })
  return [plural(regions.length, 'region'), ...counts]
}

function tableOf(regions: readonly Region[]): string[][] {
  const widest = (of: (region: Region) => string) => Math.max(...regions.map((region) => of(region).length))
  const checkpointOf = ({ checkpoint }: Region) => `checkpoint ${count(checkpoint)}`
  const nameWidth = Math.min(
    longestName,
    widest(({ region }) => region),
  )
  const stateWidth = widest(({ state }) => state)
  const checkpointWidth = widest(checkpointOf)
  return regions.map((region) => [
    region.region.padEnd(nameWidth),
    states[region.state](region.state.padEnd(stateWidth)),
    checkpointOf(region).padEnd(checkpointWidth),
    ...deliveryParts(region),
  ])
}

function deliveryParts({ waitingMs, isTombstone, undelivered, deliveredAgeMs }: Region): string[] {
  const parts: string[] = []
  if (waitingMs !== null) {
    parts.push(`for ${duration(waitingMs)}`, yellow(`${count(undelivered)} undelivered`))
    if (isTombstone) parts.push('to be emptied')
  } else if (undelivered > 0) {
    // nobody waits for them
    parts.push(dim(`${count(undelivered)} overtaken`))
  }
  if (deliveredAgeMs !== null) {
    parts.push(`${waitingMs === null ? 'delivered' : 'last delivered'} ${duration(deliveredAgeMs)} ago`)
  }
  return parts
}
