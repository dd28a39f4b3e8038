/** `tailrace/testing`: what users test their handlers with. */
export { Gate } from './gate.ts'
export { gatedStore } from './gated-store.ts'
export type { StoreGates } from './gated-store.ts'
export { referenceRun } from './reference-run.ts'
export type { ReferenceRunOptions } from './reference-run.ts'
export { simulatedChain } from './simulated-chain.ts'
export type { SimulatedChain, SimulatedChainOptions } from './simulated-chain.ts'
