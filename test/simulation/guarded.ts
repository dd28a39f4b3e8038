/** The store of one run, watched from the side of the run: what it begins although it must not. */
import assert from 'node:assert/strict'
import type { Store } from '../../src/commit/store.ts'
import { watchedSession, type Wire } from '../interleaving/ports.ts'
import type { Ledger } from '../support/forks-ledger.ts'

export interface Guarded {
  /** Target of the forks that the run was told and has not rolled back yet. */
  forkOf(): number | undefined
  readonly ledger: Ledger
  isValid(source: string, hash: string): boolean
  /** Nobody else has taken the pipeline: what stands in the ledger is what the run has written. */
  isOwner(): boolean
  /** What comes instead of an orphaned block may belong before blocks of other sources. */
  readonly isSorted: boolean
}

export function guardedStore(
  store: Store,
  wire: Wire,
  check: (assertion: () => void) => void,
  { forkOf, ledger, isValid, isOwner, isSorted }: Guarded,
): Store {
  const checkTarget = (target: number) => {
    if (!isOwner()) return
    const { survivors, frontier, restorableFrom } = ledger
    assert.equal(target, forkOf(), 'I5: the rollback goes to the lowest fork')
    assert.ok(target < frontier, 'H69: a rollback of nothing')
    assert.ok(target >= restorableFrom, 'I15, H33: a rollback beyond history')
    const first = survivors.find(({ checkpoint }) => checkpoint > target)
    if (isSorted || first === undefined) return
    assert.ok(!isValid(first.source, first.hash), `H25: ${first.hash} is valid, and taken back`)
  }
  return {
    casing: store.casing,
    async open(request) {
      const session = await store.open(request)
      /** The session was told that it is somebody else's. */
      let isLost = false
      const checkSending = () => check(() => assert.ok(!isLost, 'I9: sent although the row is lost'))
      return watchedSession(session, {
        async write(group, flushed) {
          check(() => assert.equal(forkOf(), undefined, 'I5, H29: a group is sent beside a fork'))
          checkSending()
          wire.send(group)
          const ended = await session.write(group, flushed)
          wire.answered(ended)
          return ended
        },
        async restore(target) {
          check(() => checkTarget(target))
          checkSending()
          wire.sendRestore()
          const ended = await session.restore(target)
          wire.restoreAnswered()
          return ended
        },
        async resolve() {
          const ended = await session.resolve()
          if (ended.end === 'landed') wire.resolved()
          if (ended.end === 'superseded') isLost = true
          return ended
        },
      })
    },
  }
}
