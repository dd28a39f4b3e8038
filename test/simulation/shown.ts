/** What regions must show: what the last surviving block published, and nothing that was never committed. */
import assert from 'node:assert/strict'
import type { StoredSnapshot } from '../../src/commit/store.ts'
import type { MemoryRegions } from '../../src/publish/memory.ts'
import type { Delivery, Outgoing } from '../../src/publish/port.ts'
import { compareStamps, type Stamp } from '../../src/stamp.ts'
import type { MemoryRegionRows } from '../../src/testing/memory-region-rows.ts'
import type { Ledger } from '../support/forks-ledger.ts'
import type { SimulatedCase } from './cases.ts'

export const regions = ['north', 'south'] as const
type Region = (typeof regions)[number]

export class Shown {
  readonly #given: SimulatedCase
  readonly #ledger: Ledger
  readonly #held: MemoryRegions
  readonly #rows: MemoryRegionRows
  readonly #mix: Set<string>
  /** Every snapshot that was committed, under each stamp that it was given. */
  readonly #committed = new Set<string>()
  /** Ids, with their region, of what has been taken. */
  readonly #taken = new Set<string>()
  /** Of each region the stamp of what was told last. */
  readonly #told = new Map<string, Stamp>()
  #wasRestored = false
  #wasEmptied = false
  /** How often a run may not have seen that everything was lost. */
  blind = 0
  #blindBefore = 0

  constructor(
    given: SimulatedCase,
    ledger: Ledger,
    held: MemoryRegions,
    rows: MemoryRegionRows,
    mix: Set<string>,
  ) {
    this.#given = given
    this.#ledger = ledger
    this.#held = held
    this.#rows = rows
    this.#mix = mix
  }

  /** Of each region what this block shows, one after the other. */
  publishedBy(hash: string): readonly (readonly [Region, readonly number[]])[] {
    const { publishes } = this.#given
    const all = publishes[Number(hash.slice(1)) % publishes.length]!
    return regions.map((region, at) => [region, all[at]!])
  }

  committed(): void {
    for (const stored of this.#rows.read(regions, 'every')) this.#committed.add(nameOf(stored))
  }

  restored(): void {
    this.#wasRestored = true
    this.committed()
  }

  /** The server has lost everything. */
  emptied(): void {
    this.#wasEmptied = true
    this.blind++
    this.#told.clear()
    this.#held.empty()
  }

  checkArriving(outgoing: Outgoing): void {
    assert.ok(this.#committed.has(nameOf(outgoing)), `I13: ${nameOf(outgoing)} was never committed`)
  }

  arrived({ region, id, stamp }: Outgoing, { status }: Delivery): void {
    this.#mix.add(`a delivery ${status}`)
    if (status !== 'stale') this.#taken.add(`${region} ${id}`)
    if (status !== 'persisted') return
    const before = this.#told.get(region)
    this.#told.set(region, stamp)
    assert.ok(before === undefined || compareStamps(before, stamp) < 0, `I13, H51: ${region} was moved back`)
  }

  /** Whether readers see what they must, unless somebody could not know that they do not. */
  async compare(when: string): Promise<void> {
    if (this.blind !== this.#blindBefore) this.#blindBefore = this.blind
    else await this.#compareBodies(when)
  }

  async compareTheEnd(): Promise<void> {
    await this.#compareBodies('at the end')
    const standing = await this.#held.standing(regions)
    const rows = this.#rows.current()
    for (const { region, id, stamp, isDelivered } of rows) {
      assert.deepEqual(standing.get(region)?.stamp, stamp, `I14: the stamp that ${region} shows`)
      assert.ok(isDelivered, `I6: the mark of ${region} was not saved`)
      if (id.startsWith('tombstone-')) this.#mix.add('a tombstone shown')
    }
    assert.deepEqual([...standing.keys()].toSorted(), rows.map(({ region }) => region).toSorted())
    if (this.#given.deliver === 'every') await this.#compareHistory()
  }

  async #compareBodies(when: string): Promise<void> {
    const shown = await this.#held.read(regions)
    for (const region of regions) {
      const last = this.#published(region).at(-1)
      assert.deepEqual(
        shown.get(region)?.body,
        last?.body,
        `I14, H59, H75, H77: what ${region} shows ${when}`,
      )
    }
  }

  /** Nothing was passed over; where nothing was taken back, what was kept is every publish, in order. */
  async #compareHistory(): Promise<void> {
    for (const region of regions) {
      const all = this.#published(region)
      const missing = all.filter(({ id }) => !this.#taken.has(`${region} ${id}`))
      assert.deepEqual(missing, [], `I14: what was never delivered of ${region}`)
      if (this.#wasRestored || this.#wasEmptied || this.#given.keep < all.length) continue
      const kept = (await this.#held.history(region, all.length + 1)).map(({ body }) => body).toReversed()
      const bodies = all.map(({ body }) => body)
      const changes = bodies.filter(({ value }, at) => bodies[at - 1]?.value !== value)
      assert.deepEqual(kept, changes, `I13: every publish of ${region}, in order`)
    }
  }

  /** In the order of the blocks that survive. */
  #published(region: Region): { readonly id: string; readonly body: { readonly value: number } }[] {
    return this.#ledger.survivors.flatMap(({ checkpoint, hash }) => {
      const values = new Map(this.publishedBy(hash)).get(region)!
      const shown = this.#given.deliver === 'every' ? values : values.slice(-1)
      return shown.map((value, seq) => ({ id: `1-${checkpoint}-${seq}`, body: { value } }))
    })
  }
}

function nameOf({
  region,
  id,
  stamp,
  body,
}: Pick<StoredSnapshot, 'region' | 'id' | 'stamp' | 'body'>): string {
  return `${region} ${id} ${Object.values(stamp).join('.')} ${body}`
}
