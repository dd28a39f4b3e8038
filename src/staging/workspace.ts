/** Compute's port onto the change log: scopes for handlers, batches around them. */
import type { BlockRef } from '../block.ts'
import { isSafe } from '../block.ts'
import type { HandlerScope, Workspace } from '../compute/workspace.ts'
import { ConfigurationError } from '../errors.ts'
import { dbFactory } from './access.ts'
import { Finder } from './find.ts'
import { Loader } from './loader.ts'
import type { Reader } from './reader.ts'
import { Scope } from './scope.ts'
import type { Staging } from './staging.ts'

/**
 * Of a region's snapshot, its JSON.
 * @throws ConfigurationError for a region that cannot be one, or a body that is no JSON
 */
export type Publish = (region: string, body: unknown) => string

export function workspace(staging: Staging, reader: Reader, jsonOf: Publish = noRegions): Workspace {
  const loader = new Loader(staging, reader)
  const finder = new Finder(staging, reader)
  const dbOf = dbFactory({ staging, loader, finder })
  const publish = (scope: Scope, region: string, body: unknown) =>
    staging.publish(region, jsonOf(region, body), scope)
  return {
    begin(blocks: readonly BlockRef[]) {
      staging.begin(blocks, blocks.every(isSafe))
      finder.forget()
    },
    scope: (checkpoint, item, speculative, label) =>
      new OpenScope(checkpoint, item, speculative, label, dbOf, publish),
    end: () => void staging.end(),
    discard: () => staging.discard(),
    get misses() {
      return loader.misses + finder.queries
    },
  }
}

function noRegions(region: string): never {
  throw new ConfigurationError(
    'NO_REGIONS',
    `region('${region}').publish() needs somewhere to publish to: give createIndexer \`regions: redisRegions({ url })\`, from 'tailrace/redis'.`,
    { phase: 'compute' },
  )
}

class OpenScope extends Scope implements HandlerScope {
  readonly db: object
  readonly #publish: (scope: Scope, region: string, body: unknown) => void

  constructor(
    checkpoint: number,
    item: number,
    speculative: boolean,
    label: () => string,
    dbOf: (scope: Scope) => object,
    publish: (scope: Scope, region: string, body: unknown) => void,
  ) {
    super(checkpoint, item, speculative, label)
    this.db = dbOf(this)
    this.#publish = publish
  }

  publish(region: string, body: unknown): void {
    this.assertOpen()
    if (!this.speculative) this.#publish(this, region, body)
  }
}
