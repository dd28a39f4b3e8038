/**
 * The shape of the total tables: for every state of a lane and every word that can be said, what the lane does.
 * No cell may be missing: a new state or a new event is a compile error until somebody has thought about it.
 */

/**
 * `ignored`: the lane has no answer. `stays`: the lane answers, and is in the same state afterwards (a fact is
 * recorded, a command is sent, or the state is entered again). Anything else: the state of the lane afterwards.
 */
export type Result<State extends string> = 'ignored' | 'stays' | State

/** A cell whose answer depends on facts: each case sets up its own. */
export interface Case<State extends string, Facts, Lanes> {
  readonly when: string
  readonly facts?: Partial<Facts>
  readonly lanes?: Lanes
  /** Overrides of the event's facts; `output` is merged. */
  readonly event?: Readonly<Record<string, unknown>>
  readonly to: Result<State>
}

export type Cell<State extends string, Facts, Lanes> = Result<State> | readonly Case<State, Facts, Lanes>[]

/** Words by who says them: short name in the table → event type of the machine. */
export type Words = Readonly<Record<string, Readonly<Record<string, string>>>>

export type Row<W extends Words, State extends string, Facts, Lanes> = {
  readonly [Speaker in keyof W]: { readonly [Word in keyof W[Speaker]]: Cell<State, Facts, Lanes> }
}

export interface Site<Facts, Lanes> {
  /** Where the other lanes are, and what is known, when the cells of a row are tried. */
  readonly facts?: Partial<Facts>
  readonly lanes?: Lanes
}

export type Table<W extends Words, State extends string, Targets extends string, Facts, Lanes> = {
  readonly [At in State]: Site<Facts, Lanes> & { readonly on: Row<W, State | Targets, Facts, Lanes> }
}

/** The event types of `W`, for a check against a machine's own. */
export type WordTypes<W extends Words> = { [Speaker in keyof W]: W[Speaker][keyof W[Speaker]] }[keyof W]

/** `{ draining: 'exit' | 'rollback' }` → `'draining.exit' | 'draining.rollback'` */
export type Dotted<Value> = Value extends string
  ? Value
  : { [Key in keyof Value & string]: `${Key}.${Dotted<NonNullable<Value[Key]>>}` }[keyof Value & string]
