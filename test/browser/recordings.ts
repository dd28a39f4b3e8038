/** Long recordings out of a short one: a real run, told again and again with time and numbers going on. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createIndexer } from '../../src/index.ts'
import { memoryRegions } from '../../src/publish/memory.ts'
import { memorySource } from '../../src/index.ts'
import { memoryStore } from '../../src/testing/index.ts'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import type { Message } from '../../src/inspect/protocol.ts'

const row = pgTable('row', { id: integer().primaryKey(), note: text().notNull() })

export interface LongRecording extends AsyncDisposable {
  readonly path: string
  readonly batches: number
  readonly messages: number
}

/** @param times a run of so many batches each */
export async function longRecording(batches: number, times: number): Promise<LongRecording> {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-trace-'))
  const path = join(folder, 'trace.jsonl')
  const indexer = createIndexer({
    name: 'long',
    source: memorySource({
      id: 'm',
      blocks: Array.from({ length: batches }, (_block, index) => ({
        number: index + 1,
        items: [index % 100],
      })),
    }),
    tables: { row },
    store: memoryStore(),
    regions: memoryRegions(),
    record: path,
    limits: { batchItems: 1 },
    handle: (id: number, { db }) => db.row.set({ id, note: 'x' }),
    handleBlock: ({ number }, { region }) => {
      if (number % 10 === 0) region(`r${number % 40}`).publish({ number })
    },
  })
  await indexer.run()
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n')
  const messages = lines.map((line) => JSON.parse(line) as Message)
  const from = messages.findIndex(({ kind }) => kind === 'event')
  const to = messages.findIndex(({ kind }) => kind === 'outcome')
  const [head, body, tail] = [messages.slice(0, from), messages.slice(from, to), messages.slice(to)]
  const length = body.at(-1)!.t - body[0]!.t + 1
  const text_: string[] = head.map((message) => JSON.stringify(message))
  for (let time = 0; time < times; time++) {
    for (const message of body) text_.push(JSON.stringify(later(message, time, body.length, length, batches)))
  }
  for (const message of tail) {
    text_.push(
      JSON.stringify({
        ...message,
        n: message.n + body.length * (times - 1),
        t: message.t + length * (times - 1),
      }),
    )
  }
  await writeFile(path, `${text_.join('\n')}\n`)
  return {
    path,
    batches: batches * times,
    messages: text_.length,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

function later(message: Message, time: number, count: number, length: number, batches: number): Message {
  const moved = { ...message, n: message.n + time * count, t: message.t + time * length }
  const by = time * batches
  if (moved.kind === 'event') return { ...moved, data: raised(moved.data, ['checkpoint'], by) }
  if (moved.kind === 'state') {
    return {
      ...moved,
      facts: raised(moved.facts, ['processed', 'committed', 'from', 'upTo'], by) as typeof moved.facts,
    }
  }
  return moved
}

function raised(data: unknown, names: readonly string[], by: number): unknown {
  if (typeof data !== 'object' || data === null) return data
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => {
      if (!names.includes(name)) return [name, value]
      return [
        name,
        typeof value === 'number'
          ? value + by
          : typeof value === 'string'
            ? String(Number(value) + by)
            : value,
      ]
    }),
  )
}
