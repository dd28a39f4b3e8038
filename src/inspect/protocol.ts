/**
 * What an inspector is told: one JSON object a message, the same over the wire (server-sent events) and in a trace file
 * (one message a line). Version 1. Readers skip kinds and fields they do not know; a change that they
 * could not live with gets another version.
 *
 * A recording begins with `hello` and has one `at`; a message of it is known by `n`, and happened at `at + t`. Over the
 * wire an event's id is `<at>.<n>`: whoever reconnects with it gets what it has missed.
 *
 * bigints are decimal strings; times are milliseconds since the recording began, unless a name says otherwise. What was
 * cut, dropped or kept back within a value leaves a text that begins with `…`.
 */

export const protocolVersion = 1

/** Where an actor of a chart stands; one a macrostep. Several actors of one path follow each other, as commits do. */
export interface StateMessage {
  readonly kind: 'state'
  /** Path from the root: `indexer`, `indexer/committer`, `indexer/publisher/region:europe`. */
  readonly actor: string
  /** Id of its chart: `indexer`, `committer`, `publisher`, `region`. */
  readonly chart: string
  /** XState's state value: a text, or an object of them. */
  readonly value: unknown
  /** What it was told; missing where it was found in this state. */
  readonly event?: string | undefined
  /** Transitions taken, in order; ids of the charts' states, `indexer.active.compute.pulling`. */
  readonly transitions?: readonly TransitionTaken[] | undefined
  /** The chart's facts: small, plain, redacted; without limits, which `hello` has. */
  readonly facts: Readonly<Record<string, unknown>>
  readonly status: 'active' | 'done' | 'error' | 'stopped'
}

export interface TransitionTaken {
  readonly source: string
  readonly targets: readonly string[]
  /** Empty for an eventless one. */
  readonly event: string
  /** Of named guards; barriers are combinations of several. */
  readonly guard?: string | undefined
}

/** One of the indexer's typed events (`indexer.on`), all but `state`. */
export interface EventMessage {
  readonly kind: 'event'
  readonly name: string
  readonly data: unknown
}

/** A few times a second while the run goes on: what `status()` says. */
export interface MeterMessage {
  readonly kind: 'meter'
  readonly processed: string
  readonly committed: string
  readonly stagedBatches: number
  readonly stagedBytes: number
  readonly readAheadBytes: number
  /** Items handled since the recording began. */
  readonly items: number
  /** Milliseconds by what each lane did; see `Stalls`. */
  readonly stalls: unknown
  /** By region; see `RegionStatus`. */
  readonly regions: Readonly<Record<string, unknown>>
  readonly retrying?: unknown
}

/** The first message of every recording, and the first of every run in it: nothing of an earlier run stands any more. */
export interface HelloMessage {
  readonly kind: 'hello'
  readonly version: typeof protocolVersion
  readonly pipeline: string
  /** When the recording began; Unix milliseconds. The same in every `hello` of it. */
  readonly at: number
  /** Which run of this indexer, from 1; 0: none has begun. */
  readonly run: number
  readonly limits: Readonly<Record<string, unknown>>
  readonly process: {
    readonly pid: number
    readonly host: string
    readonly node: string
    readonly tailrace: string
  }
  /** A recording of a run that began before it. */
  readonly isLate: boolean
}

/** The run has ended: its outcome, errors with their causes. */
export interface OutcomeMessage {
  readonly kind: 'outcome'
  readonly outcome: unknown
}

/**
 * So many messages before this one are not there: the recorder's bound, or a viewer or a disk that was too slow. It has
 * the number of the last of them. Of those before it, what is needed to go on from here is there: the latest `hello`, and
 * the last `state` of every actor.
 */
export interface DroppedMessage {
  readonly kind: 'dropped'
  readonly count: number
  readonly why: 'bound' | 'slow'
}

export type Content =
  HelloMessage | StateMessage | EventMessage | MeterMessage | OutcomeMessage | DroppedMessage

/** `n` grows by one with each message that was recorded; `t`: see above. */
export type Message = Content & { readonly n: number; readonly t: number }
