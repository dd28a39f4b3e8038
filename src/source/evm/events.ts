/**
 * The watch list: which (address, topic0, number of topics) is which event of which contract. Built once from
 * the ABIs; everything that makes an event ambiguous is refused here, at construction.
 */
import { isAddress, toEventSelector, toEventSignature, type AbiEvent, type Hex } from 'viem'
import { ConfigurationError } from '../../errors.ts'
import type { EvmContract, EvmContracts } from './types.ts'

/** One event of one contract. */
export interface WatchedEvent {
  /** `'<contract>.<event>'`. */
  readonly type: string
  readonly contract: string
  readonly name: string
  readonly abi: AbiEvent
  readonly topic0: Hex
  /** topic0 and one per indexed parameter. */
  readonly topics: number
  /** Lower case; `undefined`: any address. */
  readonly addresses: readonly Hex[] | undefined
}

/** What a log turned out to be; `misfit`: right address and topic0, but not the ABI's indexed parameters. */
export type Match =
  | { readonly kind: 'event'; readonly event: WatchedEvent }
  | { readonly kind: 'misfit'; readonly event: WatchedEvent }
  | { readonly kind: 'foreign' }

export interface WatchList {
  readonly events: readonly WatchedEvent[]
  /** The part of an `eth_getLogs` filter that does not change: one request for all contracts. */
  readonly filter: { readonly address?: readonly Hex[]; readonly topics: readonly [readonly Hex[]] }
  /** `address` in lower case. */
  match(address: string, topics: readonly string[]): Match
}

const FOREIGN: Match = { kind: 'foreign' }

/** @throws {ConfigurationError} naming the contract and the event that cannot be watched, and the remedy. */
export function watchList(contracts: EvmContracts): WatchList {
  const events = Object.entries(contracts).flatMap(([name, contract]) => watchContract(name, contract))
  if (events.length === 0)
    throw refused('EVM_NO_CONTRACTS', '`contracts` is empty; name at least one contract.')
  const exact = new Map<string, WatchedEvent>()
  const loose = new Map<string, WatchedEvent>()
  for (const event of events) {
    for (const address of event.addresses ?? ['*']) {
      const key = `${address}|${event.topic0}`
      const other = exact.get(`${key}|${event.topics}`)
      if (other !== undefined) throw clash(event, other, address)
      exact.set(`${key}|${event.topics}`, event)
      if (event.addresses !== undefined) loose.set(key, event)
    }
  }
  const anywhere = events.some((event) => event.addresses === undefined)
  const addresses = [...new Set(events.flatMap((event) => event.addresses ?? []))]
  const topics = [[...new Set(events.map((event) => event.topic0))]] as const
  return {
    events,
    filter: anywhere ? { topics } : { address: addresses, topics },
    match(address, [topic0, ...indexed]) {
      const key = `${topic0}|${indexed.length + 1}`
      // A contract that names the address goes before one that takes any.
      const event = exact.get(`${address}|${key}`) ?? exact.get(`*|${key}`)
      if (event !== undefined) return { kind: 'event', event }
      const near = loose.get(`${address}|${topic0}`)
      return near === undefined ? FOREIGN : { kind: 'misfit', event: near }
    },
  }
}

function watchContract(contract: string, { abi, address, events: wanted }: EvmContract): WatchedEvent[] {
  const all = abi.filter((item): item is AbiEvent => item.type === 'event')
  if (all.length === 0) throw refused('EVM_NO_EVENTS', `the ABI of contract '${contract}' has no event.`)
  const names = new Set(wanted ?? all.map((event) => event.name))
  if (names.size === 0)
    throw refused('EVM_NO_EVENTS', `\`events\` of contract '${contract}' is empty; leave it out for all.`)
  const addresses = watchedAddresses(contract, address)
  return [...names].map((name) => {
    const abiEvent = onlyEvent(contract, name, all)
    return {
      type: `${contract}.${name}`,
      contract,
      name,
      abi: abiEvent,
      topic0: toEventSelector(abiEvent),
      topics: 1 + abiEvent.inputs.filter((input) => input.indexed).length,
      addresses,
    }
  })
}

function onlyEvent(contract: string, name: string, all: readonly AbiEvent[]): AbiEvent {
  const named = all.filter((event) => event.name === name)
  const [event] = named
  if (event === undefined) {
    const known = [...new Set(all.map((other) => other.name))].join(', ')
    throw refused(
      'EVM_UNKNOWN_EVENT',
      `contract '${contract}' has no event '${name}' in its ABI; it has: ${known}.`,
    )
  }
  const shapes = new Set(named.map((other) => `${toEventSignature(other)} ${indexedMask(other)}`))
  if (shapes.size > 1) {
    throw refused(
      'EVM_OVERLOADED_EVENT',
      `event '${name}' of contract '${contract}' is declared ${shapes.size} times with different parameters ` +
        `(${[...shapes].map((shape) => shape.split(' ')[0]).join(', ')}), so '${contract}.${name}' would be ambiguous. ` +
        `Declare the contract once per variant, each with an ABI that holds only that one, or leave it out with \`events\`.`,
    )
  }
  if (event.anonymous === true) {
    throw refused(
      'EVM_ANONYMOUS_EVENT',
      `event '${name}' of contract '${contract}' is anonymous: its logs do not carry its name and cannot be told ` +
        `from others. List the other events in \`events\`.`,
    )
  }
  return event
}

function indexedMask(event: AbiEvent): string {
  return event.inputs.map((input) => (input.indexed ? '1' : '0')).join('')
}

function watchedAddresses(contract: string, address: EvmContract['address']): readonly Hex[] | undefined {
  if (address === undefined) return undefined
  const list = typeof address === 'string' ? [address] : address
  if (list.length === 0) {
    throw refused(
      'EVM_BAD_ADDRESS',
      `\`address\` of contract '${contract}' is an empty list; leave it out for any address.`,
    )
  }
  for (const one of list) {
    if (!isAddress(one, { strict: false })) {
      throw refused(
        'EVM_BAD_ADDRESS',
        `\`address\` of contract '${contract}' is '${String(one)}', which is not an address.`,
      )
    }
  }
  return [...new Set(list.map((one) => one.toLowerCase() as Hex))]
}

function clash(event: WatchedEvent, other: WatchedEvent, address: string): ConfigurationError {
  const where = address === '*' ? 'any address' : address
  return refused(
    'EVM_SAME_EVENT_TWICE',
    `'${other.type}' and '${event.type}' are the same event of ${where}; a log can only be one item. Remove one of them.`,
  )
}

function refused(code: string, message: string): ConfigurationError {
  return new ConfigurationError(code, `evmSource: ${message}`, { phase: 'options' })
}
