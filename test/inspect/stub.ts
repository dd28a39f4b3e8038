/** Something to inspect that says what a test wants, as much of it as a test wants. */
import { createActor, createMachine } from 'xstate'
import { defaultLimits } from '../../machines/limits.ts'
import { Runs, type Inspectable } from '../../src/inspect/inspectable.ts'
import { silentLog } from '../../src/log.ts'
import type { Outcome } from '../../src/index.ts'
import { small } from './running.ts'

export interface Stub {
  readonly subject: Inspectable
  /** One message, sent at once, of about 30 kB. */
  say(): void
}

export function stub(): Stub {
  const runs = new Runs(silentLog)
  const idle = small().indexer
  const subject: Inspectable = {
    name: 'stub',
    limits: defaultLimits,
    log: silentLog,
    runs,
    status: () => idle.status(),
    on: () => () => undefined,
  }
  runs.begin(createActor(createMachine({ id: 'stub' })))
  const text = 'x'.repeat(7_900)
  const outcome = {
    status: 'finished',
    committed: 0n,
    processed: 0n,
    regions: {},
    text: [text, text, text, text],
  }
  return { subject, say: () => runs.end(outcome as Outcome) }
}
