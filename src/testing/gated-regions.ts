/** A region publisher with gates in front of every attempt, and behind it. */
import type { RegionPublisher } from '../publish/port.ts'
import { Gate } from './gate.ts'

export interface RegionGates {
  /** Before an attempt. Failing it: nothing was sent. */
  readonly persist: Gate
  /** After it. Failing it: it was made, and its answer was lost. */
  readonly persisted: Gate
}

export function gatedRegions(publisher: RegionPublisher): {
  readonly regions: RegionPublisher
  readonly gates: RegionGates
} {
  const gates: RegionGates = { persist: new Gate('persist'), persisted: new Gate('persisted') }
  return {
    gates,
    regions: {
      address: publisher.address,
      settings: publisher.settings,
      get isConnected() {
        return publisher.isConnected
      },
      connect: () => publisher.connect(),
      async persist(snapshot, signal) {
        await gates.persist.enter(signal)
        const delivery = await publisher.persist(snapshot, signal)
        await gates.persisted.enter(signal)
        return delivery
      },
      standing: (regions) => publisher.standing(regions),
      nextRun: () => publisher.nextRun(),
      read: (regions) => publisher.read(regions),
      history: (region, limit) => publisher.history(region, limit),
      watch: (regions, options) => publisher.watch(regions, options),
      plan: (snapshot) => publisher.plan(snapshot),
      onReconnect: (listener) => publisher.onReconnect(listener),
      close: () => publisher.close(),
      [Symbol.asyncDispose]: () => publisher[Symbol.asyncDispose](),
    },
  }
}
