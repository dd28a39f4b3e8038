/** What a database error means for the caller, by SQLSTATE. https://www.postgresql.org/docs/current/errcodes-appendix.html */
import pg from 'pg'
import { ConfigurationError, RetryableError, TailraceError, messageOf } from '../errors.ts'
import { endsConnection } from './wire/flight.ts'

/** Nothing landed, and the same may succeed later. */
const transientStates = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '55P03', // lock_not_available
  '57014', // query_canceled: a statement or lock timeout that somebody set
  '53000', // insufficient_resources
  '53100', // disk_full: an operator may free some
  '53200', // out_of_memory
  '53300', // too_many_connections
  '57P03', // cannot_connect_now: starting up, shutting down
  '25006', // read_only_sql_transaction: a fail-over is under way
])

/**
 * An outage, or something of the kind, and no answer that would be the same again. Whatever is neither Postgres' answer nor
 * a fault of ours is the connection's.
 */
export function mayPass(error: unknown): boolean {
  if (error instanceof TailraceError) return error.cause !== undefined && mayPass(error.cause)
  if (error instanceof pg.DatabaseError) return isTransient(error) || endsConnection(error)
  return !(error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError)
}

export function isTransient(error: pg.DatabaseError): boolean {
  return error.code !== undefined && transientStates.has(error.code)
}

/** An error while connecting, said in the user's words. `target` has no password in it. */
export function connectionError(cause: unknown, target: string): TailraceError {
  const facts = { cause, phase: 'opening' } as const
  const reason = messageOf(cause)
  const state = cause instanceof pg.DatabaseError ? cause.code : undefined
  switch (state) {
    case '28P01':
    case '28000':
      return new ConfigurationError(
        'DATABASE_AUTHENTICATION',
        `Postgres at ${target} refused the login: ${reason}. Check user and password in connectionString.`,
        facts,
      )
    case '3D000':
      return new ConfigurationError(
        'DATABASE_MISSING',
        `Postgres at ${target} answered: ${reason}. Create the database, or correct its name in connectionString.`,
        facts,
      )
    case '53300':
    case '57P03':
      return new RetryableError(
        'DATABASE_BUSY',
        `Postgres at ${target} takes no connection now: ${reason}.`,
        facts,
      )
    default:
      return new RetryableError(
        'DATABASE_UNREACHABLE',
        `Cannot connect to Postgres at ${target}: ${reason}. Is the server running, and is connectionString right?`,
        facts,
      )
  }
}
