/**
 * Whom the Sentinels call master. All are asked at once and the first address holds, so one that does not answer costs
 * nothing; nothing of the question is left afterwards.
 */
import { Redis, type NatMap, type RedisOptions } from 'ioredis'
import { ConfigurationError } from '../errors.ts'

/** Replies in the shapes of RESP2. */
export type ClientOptions = RedisOptions & { readonly replyMapping: 'legacy' }

export interface Sentinel {
  readonly host: string
  readonly port: number
}

/**
 * @param natMap for masters that call themselves by names unknown here
 * @throws ConfigurationError where those that answered know no master of that name; else why none answered
 */
export async function masterOf(
  sentinels: readonly Sentinel[],
  name: string,
  options: ClientOptions,
  natMap?: NatMap,
): Promise<Sentinel> {
  const clients = sentinels.map(({ host, port }) => new Redis({ ...options, host, port }))
  try {
    const told = await Promise.any(clients.map((client) => ask(client, name)))
    const key = `${told.host}:${told.port}`
    return (typeof natMap === 'function' ? natMap(key) : natMap?.[key]) ?? told
  } catch (error) {
    const reasons = (error as AggregateError).errors as readonly Error[]
    // what a Sentinel answered says more than that another cannot be reached
    throw reasons.find((reason) => reason instanceof ConfigurationError) ?? reasons[0]!
  } finally {
    for (const client of clients) endNow(client)
  }
}

async function ask(client: Redis, name: string): Promise<Sentinel> {
  let reason: Error | undefined
  client.on('error', (error: Error) => void (reason = error))
  try {
    await client.connect()
    const answer = await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)
    if (Array.isArray(answer)) return { host: String(answer[0]), port: Number(answer[1]) }
  } catch (error) {
    throw reason ?? error
  }
  throw new ConfigurationError(
    'INVALID_OPTIONS',
    `The Sentinels know no master called '${name}'. Give name as it stands in their sentinel.conf.`,
    { phase: 'publish' },
  )
}

/** Without a goodbye that nobody may answer. */
function endNow(client: Redis): void {
  if (client.status === 'end') return
  client.disconnect()
  client.stream?.destroy()
}
