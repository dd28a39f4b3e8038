/**
 * What an error of Redis, or of the way to it, means for a delivery: try again, change the configuration, or give the
 * region up. An outage is always an error (H53), and what Redis refused has changed nothing.
 */
import { ConfigurationError, FatalError, RetryableError, TailraceError, messageOf } from '../errors.ts'
import type { Phase } from '../errors.ts'

/** What was being done. */
export interface Doing {
  /** Of the servers, without a password. */
  readonly address: string
  /** For messages: `deliver region 'mena'`. */
  readonly what: string
  readonly phase?: Phase | undefined
  /** Concerned; in the order of the script, where it is one. */
  readonly keys?: readonly string[] | undefined
  readonly writer?: string | undefined
}

type ErrorClass = new (code: string, message: string, facts: object) => TailraceError

interface Rule {
  readonly matches: RegExp
  readonly type: ErrorClass
  readonly code: string
  readonly advice: string
}

/** The first that matches holds. Redis' own errors begin with a word in capitals. */
const rules: readonly Rule[] = [
  {
    matches: /^(WRONGPASS|NOAUTH)|invalid username-password|AUTH <password> called without any password/,
    type: ConfigurationError,
    code: 'REDIS_AUTHENTICATION',
    advice: 'Check user and password in the URL',
  },
  {
    matches:
      /^NOPERM|can't run this command|can't access (at least one of )?the keys?|no permissions to (run|access)/,
    type: ConfigurationError,
    code: 'REDIS_NOT_PERMITTED',
    advice:
      "Grant the user the keys of the prefix and the commands, e.g. ACL SETUSER name on >password '~tailrace:*' '+@all' '-@dangerous' '+info'",
  },
  {
    matches: /DB index is out of range|invalid DB index|SELECT is not allowed in cluster/,
    type: ConfigurationError,
    code: 'REDIS_DATABASE_MISSING',
    advice: 'Correct the number of the database in the URL; a Redis Cluster has 0 only',
  },
  {
    matches:
      /self[- ]signed certificate|unable to (verify|get)[^.]*certificate|certificate has expired|altnames|wrong version number|packet length too long/i,
    type: ConfigurationError,
    code: 'REDIS_TLS',
    advice:
      'Give the CA that signed its certificate (`redis: { tls: { ca } }`), and rediss:// for a server with TLS only',
  },
  {
    matches: /cluster support disabled/,
    type: ConfigurationError,
    code: 'INVALID_OPTIONS',
    advice: 'It is no Redis Cluster: give `url` instead of `cluster`',
  },
  {
    matches: /^OOM/,
    type: RetryableError,
    code: 'REDIS_OUT_OF_MEMORY',
    advice:
      'Nothing was written. Raise maxmemory, or let the regions keep less (history, streamLength, compress)',
  },
  {
    matches: /^READONLY/,
    type: RetryableError,
    code: 'REDIS_READ_ONLY',
    advice:
      'It is a replica, perhaps since a fail-over just now. If it stays one, give the address of the master',
  },
  {
    matches: /^NOREPLICAS/,
    type: RetryableError,
    code: 'REDIS_NO_REPLICAS',
    advice: 'Its min-replicas-to-write asks for replicas that are not connected. Bring them back',
  },
  {
    matches: /^MISCONF/,
    type: RetryableError,
    code: 'REDIS_CANNOT_SAVE',
    advice: 'It takes no writes while it cannot save to its disk. See its log, and free some room',
  },
  {
    matches:
      /^(LOADING|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|BUSY|MOVED|ASK|NOSCRIPT|UNBLOCKED)|max number of clients|Too many Cluster redirections/,
    type: RetryableError,
    code: 'REDIS_BUSY',
    advice: 'That passes by itself when it starts up, fails over or moves slots',
  },
]

/** Anything thrown while a publisher worked, in the user's words. */
export function redisFailure(thrown: unknown, doing: Doing): TailraceError {
  if (thrown instanceof TailraceError) return thrown
  const cause = reasonOf(thrown)
  // Redis ends some of its sentences, and a full stop follows here
  const said = messageOf(cause).replace(/\.+$/, '')
  const facts = { cause, phase: doing.phase ?? ('publish' as const), key: doing.keys?.[0] }
  const ours = scriptFailure(said, doing, facts)
  if (ours !== undefined) return ours
  const rule = rules.find(({ matches }) => matches.test(said))
  if (rule !== undefined) {
    return new rule.type(rule.code, `Cannot ${target(doing)}: ${said}. ${rule.advice}.`, facts)
  }
  if (isReply(cause)) {
    return new FatalError(
      'REDIS_REFUSED',
      `Cannot ${target(doing)}: Redis answered '${said}'. Another attempt would be answered alike; see what stands in the key, and which Redis that is (6.2 or later is needed).`,
      facts,
    )
  }
  return new RetryableError(
    'REDIS_CONNECTION_LOST',
    `Cannot ${target(doing)}: ${said}. What was under way may have arrived; another attempt finds out.`,
    facts,
  )
}

/** The errors that the script of a delivery answers with; then it has changed nothing. */
function scriptFailure(said: string, doing: Doing, facts: object): TailraceError | undefined {
  const [, word = '', rest = ''] = /TAILRACE_(\w+) ?(.*)/.exec(said) ?? []
  switch (word) {
    case 'TYPE': {
      const [, number = '1', kind = rest] = /^(\d) (.*)$/.exec(rest) ?? []
      const key = doing.keys?.[Number(number) - 1] ?? ''
      return new FatalError(
        'REGION_WRONG_TYPE',
        `Cannot ${target(doing)}: the key '${key}' holds a ${kind}. Nothing was written. Find out who else writes there; give the regions another prefix, or delete the key.`,
        { ...facts, key },
      )
    }
    case 'FOREIGN':
      return new FatalError(
        'REGION_FOREIGN',
        `Cannot ${target(doing)}: it belongs to ${named(rest)}, not to ${named(doing.writer ?? '')}. Nothing was written. Give this region another id or the regions another prefix; or, if that one is gone for good, delete the key '${doing.keys?.[0] ?? ''}'.`,
        facts,
      )
    case 'ARGUMENTS':
      return new FatalError(
        'REDIS_REFUSED',
        `Cannot ${target(doing)}: the script was given a stamp, a hash or a limit that it does not take. This is a fault in tailrace or in who calls its port.`,
        facts,
      )
    default:
      return undefined
  }
}

function named(writer: string): string {
  return writer === '' ? 'publishRegions without an indexer' : `'${writer}'`
}

function target({ what, address }: Doing): string {
  return `${what} in Redis at ${address}`
}

/** No connection within the time there was. `cause`: why, as far as it is known. */
export function unreachable(doing: Doing, milliseconds: number, cause: unknown): TailraceError {
  const why = cause === undefined ? '' : `: ${messageOf(reasonOf(cause))}`
  return new RetryableError(
    'REDIS_UNREACHABLE',
    `Cannot ${target(doing)}: no connection within ${milliseconds} ms${why}. Is the server running, and is its address right?`,
    { cause, phase: doing.phase ?? 'publish', key: doing.keys?.[0] },
  )
}

/** Sent, and not answered in time. */
export function unanswered(doing: Doing, milliseconds: number): TailraceError {
  return new RetryableError(
    'REDIS_TIMED_OUT',
    `Cannot ${target(doing)}: no answer within ${milliseconds} ms. It may have arrived; another attempt finds out. If that happens often, the server is too busy or attemptMs too short.`,
    { phase: doing.phase ?? 'publish', key: doing.keys?.[0] },
  )
}

/** The caller no longer wants to wait. */
export function givenUp(doing: Doing, reason: unknown): TailraceError {
  return new RetryableError(
    'REDIS_ABORTED',
    `Did not ${target(doing)}: its signal was aborted (${messageOf(reason)}). What was under way may have arrived.`,
    { cause: reason, phase: doing.phase ?? 'publish', key: doing.keys?.[0] },
  )
}

export function notReplicated(
  doing: Doing,
  wanted: number,
  got: number,
  milliseconds: number,
): TailraceError {
  return new RetryableError(
    'NOT_REPLICATED',
    `Did ${target(doing)}, but of ${wanted} replicas ${got} had it within ${milliseconds} ms. The server has it and may lose it in a fail-over; another attempt waits again. Bring the replicas back, or set a lower \`replicas\`.`,
    { phase: doing.phase ?? 'publish', key: doing.keys?.[0] },
  )
}

/** Redis itself said so; anything else is of the connection. */
export function isReply(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'ReplyError'
}

/** A cluster says why under "failed to refresh". Without the command's arguments: bodies, or a password. */
function reasonOf(thrown: unknown): unknown {
  const reason = (thrown as { lastNodeError?: unknown } | null | undefined)?.lastNodeError ?? thrown
  if (reason instanceof Error && 'command' in reason) {
    reason.command = (reason.command as { readonly name?: string } | undefined)?.name
  }
  return reason
}
