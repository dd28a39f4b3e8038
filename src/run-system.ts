/** The actors of one run: by it a worker, whose code all runs share, finds what is its run's own. */
import type { AnyActorRef } from 'xstate'

export type RunSystem = AnyActorRef['system']
