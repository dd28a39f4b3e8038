/** The options of `testIndexer`, checked. */
import { ConfigurationError } from '../errors.ts'
import { validate } from '../options.ts'
import type { Block } from '../source/port.ts'
import type { TablesInput } from '../db.ts'
import type { RunsProgram } from './disturbed-run.ts'
import { memoryStore } from './memory-store.ts'
import { sourceId } from './shown-chain.ts'
import type { TestIndexerOptions } from './test-indexer.ts'

export interface Checked {
  readonly program: RunsProgram
  readonly blocks: readonly Block[]
  readonly seed: number
  readonly cases: number
  readonly mayFork: boolean
}

const known = [
  'blocks',
  'tables',
  'handlers',
  'handle',
  'handleBlock',
  'preload',
  'casing',
  'limits',
  'seed',
  'cases',
  'forks',
  'beforeRun',
] as const satisfies readonly (keyof TestIndexerOptions<unknown, TablesInput>)[]

/** @throws ConfigurationError `INVALID_OPTIONS` that says what is wrong and what to give */
export function checked(options: TestIndexerOptions<unknown, TablesInput>): Checked {
  if (typeof options !== 'object' || options === null) {
    throw invalid('testIndexer takes an object of options: { blocks, tables, handlers, … }')
  }
  const unknown = Object.keys(options).find((name) => !known.includes(name as (typeof known)[number]))
  if (unknown !== undefined) {
    throw invalid(
      `testIndexer has no option \`${unknown}\`; there are ${known.join(', ')}. Store, source and regions are its own`,
    )
  }
  const { blocks, seed = 1, cases = 20, forks = true, beforeRun } = options
  // what createIndexer asks of the same options, in the same words
  validate({
    ...options,
    name: 'testIndexer',
    source: { id: sourceId, open: async function* () {} },
    store: memoryStore(),
  })
  if (typeof blocks?.[Symbol.iterator] !== 'function') {
    const hint =
      typeof (blocks as unknown as AsyncIterable<unknown> | undefined)?.[Symbol.asyncIterator] === 'function'
        ? 'they come asynchronously; collect them in an array first'
        : 'give those to run the handlers on, e.g. blocks: [{ number: 1, items: [first, second] }]'
    throw invalid(`testIndexer({ blocks }) must be an iterable of blocks: ${hint}`)
  }
  whole('seed', seed, 0, 2 ** 32 - 1)
  whole('cases', cases, 1, 1_000_000)
  if (typeof forks !== 'boolean') throw invalid(`\`forks\` must be true or false, got ${String(forks)}`)
  if (beforeRun !== undefined && typeof beforeRun !== 'function') {
    throw invalid('`beforeRun` must be a function: it empties what the module of the handlers holds')
  }
  const { tables, handlers, handle, handleBlock, preload, casing, limits } = options
  const program = { tables, handlers, handle, handleBlock, preload, casing, limits, beforeRun }
  return { program: program as RunsProgram, blocks: [...blocks], seed, cases, mayFork: forks }
}

function whole(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return
  throw invalid(`\`${name}\` must be a whole number from ${least} to ${most}, got ${String(value)}`)
}

function invalid(message: string): ConfigurationError {
  return new ConfigurationError('INVALID_OPTIONS', `${message}.`, { phase: 'options' })
}
