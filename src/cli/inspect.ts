/** `tailrace inspect <trace>`: the inspector's page on a recorded run, until Ctrl-C. Needs no database. */
import { ConfigurationError, messageOf } from '../errors.ts'
import { showTrace } from '../inspect/show-trace.ts'
import { TraceRefused, type TraceSummary } from '../inspect/trace-file.ts'
import { silentLog } from '../log.ts'
import { Refusal } from './refusal.ts'
import { bold, count, dim, moment, plural, print } from './terminal.ts'

export async function inspect(
  file: string,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  const log = { ...silentLog, error: complain, warn: complain }
  const shown = await showTrace(file, { host, port, log }).catch((error: unknown) => {
    if (error instanceof TraceRefused) throw new Refusal(error.message, 2, error)
    if (error instanceof ConfigurationError) throw new Refusal(error.message, 1, error)
    throw error
  })
  const stopped = untilStopped()
  print([...summaryLines(shown.summary), '', `  ${bold(shown.url)}  ${dim('Ctrl-C ends it')}`])
  await stopped
  await shown.close()
}

function summaryLines({ pipeline, at, runs, messages, ...rest }: TraceSummary): string[] {
  const ended = rest.outcome ?? 'the trace ends before the run did'
  return [
    `  ${bold(pipeline)}  ${[moment(new Date(at)), plural(runs, 'run'), `${count(messages)} messages`, ended].join(' · ')}`,
    ...(rest.isTruncated ? ['  its last line was cut off, and is left out'] : []),
    ...(rest.damaged > 0 ? [`  ${plural(rest.damaged, 'line')} damaged, and left out`] : []),
  ]
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
}

function complain(message: string, facts: Readonly<Record<string, unknown>> = {}): void {
  process.stderr.write(`${message}: ${messageOf(facts['error'])}\n`)
}
