/**
 * The charts with their workers. They are built once, for all runs: that takes milliseconds. What is a run's own its
 * workers find by the system their actors belong to.
 */
import { createActor, type Actor, type ActorOptions, type InputFrom } from 'xstate'
import { committerMachine } from '../machines/committer.machine.ts'
import type { SourceEvent } from '../machines/events.ts'
import { indexerMachine } from '../machines/indexer.machine.ts'
import { opener } from './commit/opener.ts'
import { restoreWire, type RestoreParts } from './commit/restore-worker.ts'
import { wire, type WireParts } from './commit/worker.ts'
import { computer, type ComputerParts } from './compute/worker.ts'
import { publisher, type PublisherParts } from './publish/worker.ts'
import type { RunSystem } from './run-system.ts'
import type { Feed } from './source/feed.ts'
import { sources } from './source/worker.ts'

/** What of a run is behind its charts; all but `open` and `listen` once it is open. */
export interface Behind {
  /** Resolves to the committed frontier. */
  open(signal: AbortSignal): Promise<number>
  feed(): Feed
  /** @param say what the source lane hears */
  listen(say: (event: SourceEvent) => void): void
  computer(): ComputerParts
  commit(): WireParts
  rollback(): RestoreParts
  publishing(): PublisherParts
}

const runs = new WeakMap<RunSystem, Behind>()
const behind = (run: RunSystem): Behind => runs.get(run)!

const withWorkers: typeof indexerMachine = indexerMachine.provide({
  actors: {
    opener: opener((signal, run) => behind(run).open(signal)),
    sources: sources(
      (run) => behind(run).feed(),
      (say, run) => behind(run).listen(say),
    ),
    computer: computer((run) => behind(run).computer()),
    committer: committerMachine.provide({ actors: { wire: wire((run) => behind(run).commit()) } }),
    restorer: committerMachine.provide({ actors: { wire: restoreWire((run) => behind(run).rollback()) } }),
  },
})

const withPublisher: typeof indexerMachine = withWorkers.provide({
  actors: { publisher: publisher((run) => behind(run).publishing()) as never },
})

/** Not started yet. */
export function runActor(
  own: Behind,
  isPublishing: boolean,
  options: ActorOptions<typeof indexerMachine> & { readonly input: InputFrom<typeof indexerMachine> },
): Actor<typeof indexerMachine> {
  const actor = createActor(isPublishing ? withPublisher : withWorkers, options)
  runs.set(actor.system, own)
  return actor
}
