/** The command line: its words, its help, and what an error makes of the exit code. */
import { createRequire } from 'node:module'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { inspect } from './inspect.ts'
import { release } from './release.ts'
import { Refusal } from './refusal.ts'
import { reset } from './reset.ts'
import { status } from './status.ts'
import { bold, redError } from './terminal.ts'

/** @returns the exit code: 0, 1 it failed or was not done, 2 the command line, DATABASE_URL or the trace cannot be used */
export async function run(args: readonly string[]): Promise<number> {
  try {
    await program().parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    // commander has said it
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const message = error instanceof Refusal ? error.message : `a bug of tailrace: ${stackOf(error)}`
    process.stderr.write(`${redError('tailrace:')} ${message}\n`)
    return error instanceof Refusal ? error.exitCode : 1
  }
}

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)

function versionOf(): string {
  // by the package's own name: built and run from source it lies at different depths
  const { version } = createRequire(import.meta.url)('tailrace/package.json') as { version: string }
  return version
}

function program(): Command {
  const top = new Command('tailrace')
    .description('Looks after the pipelines of a database, and shows recorded runs.')
    .version(versionOf(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .showHelpAfterError('(--help says more)')
    .configureHelp({ styleTitle: bold, showGlobalOptions: false })
    .configureOutput({
      outputError: (message, write) => write(message.replace(/^error:/, redError('tailrace:'))),
    })
    .exitOverride()
    .addHelpText('after', environmentHelp)
  statusCommand(top)
  releaseCommand(top)
  resetCommand(top)
  inspectCommand(top)
  return top
}

const environmentHelp = `
Environment:
  DATABASE_URL   postgres://user:password@host:5432/database, where the pipelines are
  NO_COLOR       no colour

Exit code:
  0   done
  1   it failed, or was not done; the message says why
  2   the command line, DATABASE_URL or the trace cannot be used`

const examples = (...lines: string[]) => `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}`

function statusCommand(top: Command): void {
  top
    .command('status')
    .summary('who owns the pipelines, and how far they are')
    .description(
      `Shows each pipeline: who owns it, its epoch, its committed frontier, where its sources stand, how far back a fork may go, the history kept for that, and whether its regions are delivered.

Everything is as of the last commit. What a run has handled and not committed, how far a source's head is ahead, and which regions are quarantined, only the run itself knows: see indexer.status().`,
    )
    .argument('[name]', 'only this pipeline')
    .option('--json', 'print one JSON document; its shape is in docs/cli.md')
    .addHelpText('after', examples('tailrace status', 'tailrace status orders --json'))
    .action(status)
}

function releaseCommand(top: Command): void {
  top
    .command('release')
    .summary('take a pipeline from its owner')
    .description(
      `Frees a pipeline: the next run takes it at once. Its epoch grows, so that nothing of the old owner lands any more; a run that still lives ends as superseded.

There is seldom need for it: an owner that is gone is succeeded by the next run anyway. It is for one that hangs.`,
    )
    .argument('<name>', 'the pipeline')
    .option('-y, --yes', 'do not ask, also when the owner lives')
    .option('--json', 'print one JSON document')
    .addHelpText('after', examples('tailrace release orders', 'tailrace release orders --yes'))
    .action(release)
}

function resetCommand(top: Command): void {
  top
    .command('reset')
    .summary('forget a pipeline, so that it is indexed anew')
    .description(
      `Removes what tailrace keeps of a pipeline (its row, cursors, positions, region snapshots) and empties the tables named in --tables, with their history; all of it or nothing. The next run of that name begins at the beginning.

Which tables a pipeline writes is not stored: those that are not named keep their rows, and a run that meets them may fail or count twice. History of tables that are not named is left, too; a new run drops what is not its own. Tables are emptied by one TRUNCATE without CASCADE.

What Redis shows of its regions stays until the pipeline publishes them again.

Refused while somebody owns the pipeline: stop it, or release it first.`,
    )
    .argument('<name>', 'the pipeline')
    .option('--tables <names>', 'tables to empty: a,b or schema.a,schema.b', tableNames)
    .option('--confirm <name>', "the pipeline's name, for scripts; otherwise it is asked for")
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'tailrace reset orders --tables customer,purchase',
        'tailrace reset orders --tables shop.customer --confirm orders',
      ),
    )
    .action(reset)
}

function inspectCommand(top: Command): void {
  top
    .command('inspect')
    .summary('look at a recorded run')
    .description(
      `Serves the inspector's page on a trace, the file that createIndexer({ record }) writes, until Ctrl-C: of a run that has ended, or of one that was killed, up to its last moment. Needs no database and no network.`,
    )
    .argument('<trace>', 'the file')
    .option('--port <number>', 'where it listens; 0 is any that is free', portNumber, 0)
    .option('--host <address>', 'whoever reaches another address sees everything', '127.0.0.1')
    .addHelpText(
      'after',
      examples('tailrace inspect trace.jsonl', 'tailrace inspect trace.jsonl --port 4000'),
    )
    .action(inspect)
}

function portNumber(text: string): number {
  const port = Number(text)
  if (text.trim() === '' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError('Give a number from 0 to 65535.')
  }
  return port
}

function tableNames(text: string): string[] {
  const names = text.split(',').map((name) => name.trim())
  if (names.includes('')) throw new InvalidArgumentError('Give names with commas between them: a,b.')
  return names
}
