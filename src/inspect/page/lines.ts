/** Messages in words: one line each for the log, and for its filter. */
import type { EventMessage, Message, StateMessage } from '../protocol.ts'
import { field, nameOfActor, numberOf } from './fold.ts'
import * as format from './format.ts'

export type Kind = 'state' | 'event' | 'meter' | 'trouble'

export interface Line {
  readonly kind: Kind
  readonly who: string
  readonly text: string
}

const cache = new WeakMap<Message, Line>()

export function lineOf(message: Message): Line {
  let line = cache.get(message)
  if (line === undefined) {
    line = written(message)
    cache.set(message, line)
  }
  return line
}

function written(message: Message): Line {
  switch (message.kind) {
    case 'state':
      return {
        kind: isTrouble(message) ? 'trouble' : 'state',
        who: nameOfActor(message.actor),
        text: stateText(message),
      }
    case 'event':
      return {
        kind: isTroubleEvent(message) ? 'trouble' : 'event',
        who: message.name,
        text: dataText(message.data),
      }
    case 'meter':
      return {
        kind: 'meter',
        who: 'meter',
        text: `processed ${message.processed}, committed ${message.committed}, staged ${format.bytes(message.stagedBytes)}, read ahead ${format.bytes(message.readAheadBytes)}`,
      }
    case 'hello':
      return {
        kind: 'event',
        who: 'hello',
        text: `${message.pipeline}, run ${message.run}${message.isLate ? ', recorded from its middle on' : ''}`,
      }
    case 'outcome': {
      const status = field(message.outcome, 'status')
      return {
        kind: status === 'failed' || status === 'superseded' ? 'trouble' : 'event',
        who: 'outcome',
        text: dataText(message.outcome),
      }
    }
    case 'dropped':
      return {
        kind: 'trouble',
        who: 'dropped',
        text: `${format.plural(message.count, 'message')} before this one ${message.count === 1 ? 'is' : 'are'} missing (${message.why === 'slow' ? 'this viewer was too slow' : 'the recorder is bounded'})`,
      }
    default:
      message satisfies never
      return { kind: 'event', who: (message as Message).kind, text: dataText(message) }
  }
}

const badEnds = /\.(failed|failing|superseded|quarantined|broken|retrying|resolving|backingOff)(\.|$)/

/** What leads into trouble is, not what is said while it lasts. */
function isTrouble({ status, transitions }: StateMessage): boolean {
  return (
    status === 'error' || (transitions ?? []).some(({ targets }) => targets.some((id) => badEnds.test(id)))
  )
}

const troubles = new Set(['commit.retrying', 'read.retrying', 'fork', 'rollback.started'])

function isTroubleEvent({ name, data }: EventMessage): boolean {
  if (troubles.has(name)) return true
  if (name === 'region.settled') return field(data, 'status') === 'failed'
  return name === 'region.health' && field(data, 'health') !== 'ok' && field(data, 'health') !== 'empty'
}

function stateText({ event, transitions, chart, value }: StateMessage): string {
  const places = (transitions ?? []).flatMap(({ targets }) => targets)
  const ways = places.map((id) => shortState(id, chart))
  const where = ways.length > 0 ? ` → ${[...new Set(ways)].join(', ')}` : ''
  if (event === undefined) return `found in ${valueText(value)}`
  const start = event === 'xstate.init'
  return start ? `begins in ${valueText(value)}` : `${shortEvent(event)}${where}`
}

/** `indexer.active.compute.pulling` → `compute.pulling` */
export function shortState(id: string, chart: string): string {
  return id.replace(`${chart}.`, '').replace(/^active\./, '')
}

/** As in the chart's arrows. */
export function shortEvent(type: string): string {
  if (type === '') return 'always'
  if (type === 'xstate.stop') return 'stopped'
  const after = /^xstate\.after\.([^.]+)\./.exec(type)
  if (after !== null) return `after ${after[1]}`
  const actor = /^xstate\.(done|error)\.actor\.(.+)$/.exec(type)
  return actor === null ? type : `${actor[1]}(${actor[2]})`
}

export function valueText(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null) return format.short(value)
  const parts = Object.entries(value).map(([key, inner]) => {
    const text = valueText(inner)
    return typeof inner === 'object' && inner !== null && Object.keys(inner).length > 1
      ? `${key}(${text})`
      : `${key}.${text}`
  })
  return parts.join(' ')
}

function dataText(data: unknown): string {
  if (typeof data !== 'object' || data === null) return format.short(data, 200)
  return Object.entries(data)
    .map(([name, value]) => `${name} ${fieldText(name, value)}`)
    .join(' · ')
}

function fieldText(name: string, value: unknown): string {
  const number = numberOf(value)
  if (number !== undefined && (name === 'ms' || name.endsWith('Ms'))) return format.ms(number)
  if (number !== undefined && (name === 'bytes' || name.endsWith('Bytes'))) return format.bytes(number)
  const message = field(value, 'message')
  if (typeof message === 'string') return format.short(message, 160)
  return format.short(value, 160)
}
