/** Compute's port onto the change log: scopes for handlers, batches around them. */
import type { BlockRef } from '../block.ts'
import { isSafe } from '../block.ts'
import type { HandlerScope, Workspace } from '../compute/workspace.ts'
import { dbFactory } from './access.ts'
import { Finder } from './find.ts'
import { Loader } from './loader.ts'
import type { Reader } from './reader.ts'
import { Scope } from './scope.ts'
import type { Staging } from './staging.ts'

export function workspace(staging: Staging, reader: Reader): Workspace {
  const loader = new Loader(staging, reader)
  const finder = new Finder(staging, reader)
  const dbOf = dbFactory({ staging, loader, finder })
  return {
    begin(blocks: readonly BlockRef[]) {
      staging.begin(blocks, blocks.every(isSafe))
      finder.forget()
    },
    scope: (checkpoint, item, speculative, label) =>
      new OpenScope({ checkpoint, item }, speculative, label, dbOf),
    end: () => void staging.end(),
    discard: () => staging.discard(),
    get misses() {
      return loader.misses + finder.queries
    },
  }
}

class OpenScope extends Scope implements HandlerScope {
  readonly db: object

  constructor(
    origin: { readonly checkpoint: number; readonly item: number },
    speculative: boolean,
    label: () => string,
    dbOf: (scope: Scope) => object,
  ) {
    super(origin, speculative, label)
    this.db = dbOf(this)
  }
}
