/** The head of the page: whose run this is, where it stands, whether it is still told of. */
import { byId, say } from './dom.ts'
import { field, laneState, type Actor, type Moment } from './fold.ts'
import type { Connection, Part, View } from './view.ts'

const lanes = ['control', 'source', 'compute', 'commit', 'publish']

export class HeadView implements Part {
  readonly #view: View
  readonly #status = byId('status')

  constructor(view: View) {
    this.#view = view
  }

  draw(): void {
    const { moment, held, connection } = this.#view
    const { hello } = moment
    say(byId('pipeline'), hello?.pipeline ?? '')
    const indexer = moment.actors.get('indexer')
    const state = stateOf(moment, indexer)
    const [words, look] = this.#word(state, held, connection)
    say(this.#status, words)
    this.#status.className = `chip ${look}`
    say(byId('lane-states'), lanesText(indexer))
    say(byId('about'), hello === undefined ? '' : aboutText(moment))
    document.title = `${hello === undefined ? '' : `${hello.pipeline}: ${state} · `}tailrace inspector`
  }

  /** A run that has ended has ended, whatever came of the connection. */
  #word(state: string, held: number | undefined, connection: Connection): readonly [string, string] {
    const { recording } = this.#view
    if (held !== undefined) return [`${state} · held`, 'held']
    if (connection === 'truncated') return [`${state} · the recording breaks off here`, 'lost']
    if (recording.now.outcome !== undefined || connection === 'ended') {
      return [`${state} · ended`, state === 'failed' || state === 'superseded' ? 'failed' : '']
    }
    if (connection === 'lost')
      return [recording.size === 0 ? 'no connection' : `${state} · connection lost`, 'lost']
    return connection === 'connecting' ? ['connecting', ''] : [`${state} · live`, 'live']
  }
}

function stateOf({ outcome, hello }: Readonly<Moment>, indexer: Actor | undefined): string {
  const ended = field(outcome?.outcome, 'status')
  if (typeof ended === 'string') return ended
  if (indexer === undefined) return hello === undefined ? 'nothing heard yet' : 'no run yet'
  const { value } = indexer
  return typeof value === 'string' ? value : (Object.keys(value ?? {})[0] ?? 'active')
}

function lanesText(indexer: Actor | undefined): string {
  if (indexer === undefined) return ''
  return lanes.flatMap((lane) => laneState(indexer.active, lane) ?? []).join('  ·  ')
}

function aboutText({ hello }: Readonly<Moment>): string {
  const { run, process, at, isLate } = hello!
  const began = new Date(at).toISOString().slice(0, 19).replace('T', ' ')
  return `run ${run} of pid ${process.pid} on ${process.host}, recorded since ${began}Z${isLate ? ', when it ran already' : ''}`
}
