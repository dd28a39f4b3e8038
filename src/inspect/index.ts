/** `tailrace/inspect`: see an indexer think. */
export { inspect } from './inspect.ts'
export type { InspectOptions, Inspector } from './inspect.ts'
export { protocolVersion } from './protocol.ts'
export type {
  Content,
  DroppedMessage,
  EventMessage,
  HelloMessage,
  Message,
  MeterMessage,
  OutcomeMessage,
  StateMessage,
  TransitionTaken,
} from './protocol.ts'
export type { Redact } from './redact.ts'
export { inspectWithStately } from './stately.ts'
export type { StatelyInspector, StatelyOptions } from './stately.ts'
