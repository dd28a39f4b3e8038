/** `tailrace release <name>`: frees a pipeline's row. Its epoch grows, so that nothing of the old owner lands any more. */
import pg from 'pg'
import { ask, askingTerminal } from './ask.ts'
import { knownPipeline, withDatabase, type Database } from './database.ts'
import { clockOf, endBackend, freePipeline, type Ownership } from './queries.ts'
import { Refusal } from './refusal.ts'
import { ownerParts } from './status-text.ts'
import { bold, columnsOf, count, duration, fact, green, print, printJson, titled } from './terminal.ts'

export interface ReleaseOptions {
  readonly yes?: boolean
  readonly json?: boolean
}

export function release(name: string, options: ReleaseOptions): Promise<void> {
  return withDatabase(async (database) => {
    const held = await knownPipeline(database, name)
    const at = await clockOf(database.client)
    if (held.token === null) {
      report(name, held, at, { released: false, epoch: held.epoch, connectionEnded: false }, options)
      return
    }
    if (held.state !== 'gone' && options.yes !== true) await confirm(name, held, at)
    const done = await releaseFrom(database, name, held.token)
    report(name, held, at, done, options)
  })
}

interface Done {
  readonly released: boolean
  readonly epoch: bigint
  readonly connectionEnded: boolean
}

/** @param token of the run that was shown: nobody else loses the pipeline */
async function releaseFrom(database: Database, name: string, token: string): Promise<Done> {
  const freed = await freePipeline(database.client, name, token)
  if (freed !== undefined) {
    const connectionEnded = await endBackend(database.client, freed.backend).catch((error: unknown) => {
      // another role's connection: it is fenced all the same
      if (error instanceof pg.DatabaseError) return false
      throw error
    })
    return { released: true, epoch: freed.epoch, connectionEnded }
  }
  const now = await knownPipeline(database, name)
  if (now.token === null) return { released: false, epoch: now.epoch, connectionEnded: false }
  throw new Refusal(
    `Pipeline '${name}' has got another owner meanwhile, process ${now.owner?.pid ?? '?'} on ${now.owner?.host ?? '?'}. Nothing was changed; look with \`tailrace status ${name}\`.`,
  )
}

async function confirm(name: string, held: Ownership, at: Date): Promise<void> {
  const asking = askingTerminal()
  const { owner } = held
  if (asking === undefined) {
    throw new Refusal(
      `Pipeline '${name}' is held by process ${owner?.pid ?? '?'} on ${owner?.host ?? '?'}, which was heard of ${duration(owner?.silentMs ?? 0)} ago. Stop that process, or give --yes to take the pipeline from it. Nothing was changed.`,
    )
  }
  const lines = [`  ${bold(name)}`, ...fact('owner', ownerParts(held, at), columnsOf(process.stderr))]
  asking.output.write(`\n${lines.join('\n')}\n\n`)
  const answer = await ask(
    asking,
    '  It would end as superseded, and handle again what it has not committed. Release? [y/N] ',
  )
  if (!/^y(es)?$/i.test(answer ?? '')) throw new Refusal('Nothing was changed.')
}

function report(name: string, held: Ownership, at: Date, done: Done, { json }: ReleaseOptions): void {
  if (json === true) {
    const { owner, state } = held
    const heldBy = owner === null ? null : { host: owner.host, pid: owner.pid, since: owner.since }
    printJson({ pipeline: name, ...done, wasState: state, heldBy })
    return
  }
  const width = columnsOf(process.stdout)
  const epoch = `epoch ${count(done.epoch)}`
  if (!done.released) {
    print(['', `  ${bold(name)}`, ...fact('free', ['nobody holds it; nothing to do', epoch], width), ''])
    return
  }
  const fate = held.state === 'gone' ? [] : ['it ends as superseded']
  const connection = done.connectionEnded ? ['its connection was ended'] : []
  print([
    '',
    titled(name, green('released')),
    ...fact('was held', ownerParts({ ...held, state: 'running' }, at), width),
    ...fact(
      'now',
      [`free, ${epoch}`, 'nothing of the old owner lands any more', ...fate, ...connection],
      width,
    ),
    '',
  ])
}
