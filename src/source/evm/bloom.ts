/**
 * The 2048-bit filter in every header, which says of an address or a topic "certainly not in this block's
 * logs" or "perhaps". It is part of the block's hash, so it tells when a node's `[]` hides logs (H68).
 */
import { keccak256, type Hex } from 'viem'
import type { WatchList } from './events.ts'

const BYTES = 256

/** The three bits of one value, as byte offset and mask. */
type Bits = readonly (readonly [offset: number, mask: number])[]

/**
 * Prepares the question "may this block hold an event of the watch list?". `false` is certain, `true` is not.
 */
export function bloomOf(watch: WatchList): (bloom: string) => boolean {
  const bits = new Map<Hex, Bits>()
  const bitsFor = (value: Hex): Bits => {
    const known = bits.get(value)
    if (known !== undefined) return known
    const fresh = bloomBits(value)
    bits.set(value, fresh)
    return fresh
  }
  const pairs = watch.events.map((event) => ({
    topic: bitsFor(event.topic0),
    addresses: event.addresses?.map(bitsFor),
  }))
  return (bloom) => {
    const filter = Buffer.from(bloom.slice(2), 'hex')
    const has = (value: Bits): boolean =>
      value.every(([offset, mask]) => ((filter[offset] ?? 0) & mask) !== 0)
    return pairs.some(
      ({ topic, addresses }) => has(topic) && (addresses === undefined || addresses.some(has)),
    )
  }
}

/** Yellow Paper, M3:2048: eleven bits from each of the first three pairs of bytes of the hash. */
export function bloomBits(value: Hex): Bits {
  const hash = Buffer.from(keccak256(value).slice(2), 'hex')
  return [0, 2, 4].map((at) => {
    const bit = hash.readUInt16BE(at) & 2047
    return [BYTES - 1 - (bit >> 3), 1 << (bit & 7)] as const
  })
}
