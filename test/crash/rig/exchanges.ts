/**
 * What a tailrace writer says on the wire, cut into exchanges (everything up to a Sync) and named; and the named points of
 * an exchange at which the rig can stop it. https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

export type ExchangeKind = 'take' | 'commit' | 'restore' | 'resolve' | 'release'

const flightPoints = [
  'before the first byte',
  'in the first message',
  'after begin_flight',
  'in the middle of the rows',
  'before the fence',
  'between fence and Sync',
  'after Sync',
  'before the answer',
  'in the middle of the answer',
  'after the answer',
] as const

export type Point = (typeof flightPoints)[number]

const questionPoints: readonly Point[] = [
  'before the first byte',
  'in the first message',
  'between fence and Sync',
  'after Sync',
  'before the answer',
  'in the middle of the answer',
  'after the answer',
]

const pointsOf: Readonly<Record<ExchangeKind, readonly Point[]>> = {
  take: questionPoints,
  commit: flightPoints,
  restore: flightPoints,
  resolve: questionPoints,
  release: questionPoints,
}

export interface Place {
  readonly kind: ExchangeKind
  readonly point: Point
}

export const places: readonly Place[] = Object.entries(pointsOf).flatMap(([kind, points]) =>
  points.map((point) => ({ kind: kind as ExchangeKind, point })),
)

/** A question has no fence: there it is the statement itself. */
export function nameOf({ kind, point }: Place): string {
  const isFlight = kind === 'commit' || kind === 'restore'
  return `${kind}: ${isFlight ? point : point.replace('between fence and Sync', 'before Sync')}`
}

/** Has the server got all of it by then? */
export const hasSync = (point: Point): boolean =>
  flightPoints.indexOf(point) >= flightPoints.indexOf('after Sync')

// ── messages ────────────────────────────────────────────────────────────────────────────────────────────────

const letter = (message: Buffer) => String.fromCharCode(message[0]!)

/** Takes whole messages off the front. The first of a connection, the startup packet, has no type. */
export class Messages {
  #rest: Buffer = Buffer.alloc(0)
  #hasStarted: boolean

  constructor(side: 'frontend' | 'backend') {
    this.#hasStarted = side === 'backend'
  }

  take(chunk: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const whole: Buffer[] = []
    for (;;) {
      const head = this.#hasStarted ? 1 : 0
      if (this.#rest.length < head + 4) return whole
      const length = head + this.#rest.readInt32BE(head)
      if (this.#rest.length < length) return whole
      whole.push(this.#rest.subarray(0, length))
      this.#rest = this.#rest.subarray(length)
      this.#hasStarted = true
    }
  }

  /** What is there of the next one. */
  get rest(): Buffer {
    return this.#rest
  }
}

/** Is it the last message of what a client says in one go? Anything but the parts of the extended protocol, and of COPY, is. */
export const endsExchange = (message: Buffer) => !'PBDEHCdcf'.includes(letter(message))

export const isReadyForQuery = (message: Buffer) => letter(message) === 'Z'

const sqlOf = (message: Buffer): string | undefined => {
  if (letter(message) !== 'P') return undefined
  // the statement's name, then its text, each ended by a zero
  const begin = message.indexOf(0, 5) + 1
  return message.toString('utf8', begin, message.indexOf(0, begin))
}

/** Undefined: nothing that the rig stops. */
export function kindOf(messages: readonly Buffer[]): ExchangeKind | undefined {
  const [first, ...others] = messages.map(sqlOf).filter((sql) => sql !== undefined)
  if (first === undefined) return undefined
  if (first.includes('tailrace.begin_flight')) {
    return others.some((sql) => sql.includes('DELETE FROM tailrace.cursors')) ? 'restore' : 'commit'
  }
  if (first.includes('WITH taken AS')) return 'take'
  if (first.includes('UPDATE tailrace.pipelines SET epoch = epoch + 1')) return 'resolve'
  if (first.includes('UPDATE tailrace.pipelines SET token = NULL')) return 'release'
  return undefined
}

/** The bytes that are let through before a point that lies on the way to the server; and those that are held. */
export function splitAt(messages: readonly Buffer[], point: Point): readonly [Buffer, Buffer] {
  const all = Buffer.concat(messages)
  const lengths = messages.map((message) => message.length)
  const before = (index: number) => lengths.slice(0, index).reduce((sum, length) => sum + length, 0)
  const inside = (index: number) => before(index) + Math.ceil(lengths[index]! / 2)
  const at = (offset: number) => [all.subarray(0, offset), all.subarray(offset)] as const
  const parses = messages.flatMap((message, index) => (letter(message) === 'P' ? [index] : []))
  switch (point) {
    case 'before the first byte':
      return at(0)
    case 'in the first message':
      return at(inside(0))
    case 'after begin_flight':
      return at(before(parses[1]!))
    case 'in the middle of the rows': {
      const rows =
        parses.find((index) => !/tailrace\.|set_config/.test(sqlOf(messages[index]!)!)) ?? parses[1]!
      // its Bind holds them; or, behind its Execute and the header, what is copied
      const copied = rows + 4
      return at(inside(letter(messages[copied]!) === 'd' ? copied : rows + 1))
    }
    case 'before the fence':
      return at(before(parses.at(-1)!))
    case 'between fence and Sync':
      return at(before(messages.length - 1))
    case 'after Sync':
    case 'before the answer':
    case 'in the middle of the answer':
    case 'after the answer':
      return at(all.length)
    default:
      throw new Error(`unreachable: ${String(point satisfies never)}`)
  }
}
