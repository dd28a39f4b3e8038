/** What the page keeps: a moment is the fold of all messages up to it, however it was reached; and it is bounded. */
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { Message } from '../../src/inspect/protocol.ts'
import { emptyMoment, fold, type Moment } from '../../src/inspect/page/fold.ts'
import { Recording } from '../../src/inspect/page/recording.ts'
import { longRecording } from './recordings.ts'

async function messages(): Promise<Message[]> {
  await using recording = await longRecording(60, 1)
  const lines = (await readFile(recording.path, 'utf8')).trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line) as Message)
}

/** What a moment shows, without when which object was made. */
const shown = ({ n, t, actors, meter, outcome }: Readonly<Moment>) => ({
  n,
  t,
  actors: [...actors],
  meter,
  outcome,
})

test('any moment is what folding everything up to it gives: back, forth, from anywhere', async () => {
  const all = await messages()
  const recording = new Recording()
  for (const message of all) recording.add(message)
  const order = [...all.keys()].map((index) => (index * 7_919) % all.length)
  const expected = new Map<number, ReturnType<typeof shown>>()
  const moment = emptyMoment()
  for (const message of all) {
    fold(moment, message)
    expected.set(message.n, shown(moment))
  }
  for (const index of [...order.slice(0, 200), 0, all.length - 1, 300, 301, 300]) {
    const { n } = all[index]!
    expect(shown(recording.at(n))).toEqual(expected.get(n))
  }
})

test('batches are tied to the commits that took them, and the lanes leave no gap', async () => {
  const recording = new Recording()
  for (const message of await messages()) recording.add(message)
  const { batches, compute, commit } = recording.lanes
  expect(batches.map(({ checkpoint }) => checkpoint)).toEqual(
    Array.from({ length: 60 }, (_each, index) => index + 1),
  )
  expect(compute.filter(({ doing, batch }) => doing === 'handle' && batch === undefined)).toEqual([])
  const groups = [...new Set(commit.flatMap(({ group }) => (group === undefined ? [] : [group])))]
  expect(groups.reduce((sum, group) => sum + group.batches, 0)).toBe(60)
  expect(groups.slice(1).every(({ from }, index) => from === groups[index]!.upTo)).toBe(true)
  // one after the other, without a hole: every moment of the lane belongs to one doing
  expect(compute.slice(1).every(({ from }, index) => from === compute[index]!.to)).toBe(true)
})

test('messages told again are not counted twice; another recording starts anew', async () => {
  const all = await messages()
  const recording = new Recording()
  for (const message of all) recording.add(message)
  for (const message of all) expect(recording.add(message)).toBe(false)
  expect(recording.size).toBe(all.length)
  const [hello] = all
  if (hello?.kind !== 'hello') throw new Error('a recording begins with a greeting')
  recording.add({ ...hello, at: hello.at + 1 })
  expect(recording.size).toBe(1)
  expect(recording.lanes.batches).toEqual([])
})

test('the oldest messages go; what is left can be looked at', async () => {
  const all = await messages()
  const bound = 400
  const recording = new Recording(bound)
  for (const message of all) recording.add(message)
  expect(recording.size).toBeLessThanOrEqual(bound)
  expect(recording.forgotten).toBe(all.length - recording.size)
  expect(recording.last).toBe(all.at(-1)!.n)
  const { first } = recording
  expect(recording.at(first).n).toBe(first)
  // where actors stood is known though they were told of before
  expect(recording.at(first).actors.get('indexer')?.active.has('indexer.active')).toBe(true)
  const since = recording.message(0)!.t
  expect(recording.lanes.compute.every(({ to }) => to >= since)).toBe(true)
})
