/**
 * The charts as they are drawn: `charts.generated.json`, laid out by docs/machines/layout.ts from the machines
 * themselves (`npm run docs`). Coordinates are pixels of the drawing at its natural size.
 */

export interface Charts {
  readonly charts: readonly Chart[]
  /** What must hold, by id: `I5`. */
  readonly invariants: Readonly<Record<string, string>>
}

export interface Chart {
  /** Of the machine: `indexer`. */
  readonly id: string
  readonly width: number
  readonly height: number
  /** Outer ones first. */
  readonly states: readonly ChartState[]
  readonly marks: readonly Mark[]
  readonly links: readonly Link[]
  readonly transitions: readonly Transition[]
}

export interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface ChartState extends Box {
  /** `indexer.active.compute.pulling` */
  readonly id: string
  readonly key: string
  readonly kind: 'atomic' | 'compound' | 'parallel' | 'final' | 'history'
  readonly parent: string | null
  readonly description: string
  readonly isInitial: boolean
  /** Workers that it starts. */
  readonly invokes: readonly string[]
  readonly entry: readonly string[]
  /** Ids of what is held there. */
  readonly invariants: readonly string[]
}

/** Where a region starts, or what stands for "from any of these states". */
export interface Mark extends Box {
  readonly kind: 'initial' | 'anywhere'
  /** State that it stands in; null: the chart. */
  readonly parent: string | null
}

/** One drawn arrow; it stands for every transition between its ends. */
export interface Link {
  readonly points: readonly (readonly [number, number])[]
  /** Where its words stand; null: it has none. */
  readonly label: Box | null
  readonly lines: readonly string[]
  /** Some transition of it waits for lanes to stand still. */
  readonly isBarrier: boolean
}

export interface Transition {
  /** Id of a state, or of the chart: from anywhere. */
  readonly source: string
  readonly targets: readonly string[]
  /** As XState calls it; empty: it is taken as soon as its guard holds. */
  readonly event: string
  /** The same for reading. */
  readonly when: string
  readonly guard: string
  readonly parts: readonly GuardPart[]
  readonly actions: readonly string[]
  /** Index of its arrow and of its line there; null: it has no target and is not drawn. */
  readonly link: number | null
  readonly line: number
}

/** One condition of a guard. */
export interface GuardPart {
  readonly name: string
  readonly negated: boolean
  /** It holds while this state is active; null: it is a fact. */
  readonly state: string | null
}
