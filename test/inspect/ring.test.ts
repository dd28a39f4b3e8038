/** The ring holds no more than it may, and whoever reads it, from wherever, can go on: nothing is missing unsaid. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Recorded } from '../../src/inspect/recorder.ts'
import { Ring } from '../../src/inspect/ring.ts'

type Step = { readonly kind: 'hello' | 'event' } | { readonly kind: 'state'; readonly actor: string }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'hello' }) },
  { weight: 5, arbitrary: fc.constant<Step>({ kind: 'event' }) },
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant('state' as const),
      actor: fc.constantFrom('a', 'b', 'c'),
    }),
  },
)

const recorded = (given: Step, n: number): Recorded => ({
  ...given,
  n,
  t: n,
  json: JSON.stringify({ ...given, n }),
})

/** Where everything stands, as somebody knows who has read this. */
function standing(messages: readonly Recorded[]): Record<string, number> {
  const known = new Map<string, number>()
  for (const { kind, n, actor } of messages) {
    if (kind === 'hello') {
      known.clear()
      known.set('hello', n)
    }
    if (actor !== undefined) known.set(actor, n)
  }
  return Object.fromEntries(known)
}

test('whoever has read up to any message is brought up to date, and told how many are missing', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 20 }),
      fc.nat(60),
      (steps, bound, seen) => {
        const all = [
          recorded({ kind: 'hello' }, 1),
          ...steps.map((given, index) => recorded(given, index + 2)),
        ]
        const ring = new Ring({ messages: bound, bytes: 1_000_000 })
        for (const message of all) ring.add(message)
        expect(ring.length).toBe(Math.min(bound, all.length))
        const from = Math.min(seen, all.length)
        const told = [...ring.catchUp(from), ...ring.after(from)]
        expect(told.map(({ n }) => n)).toEqual([...new Set(told.map(({ n }) => n))].toSorted((a, b) => a - b))
        const missing = told
          .filter(({ kind }) => kind === 'dropped')
          .map(({ json }) => (JSON.parse(json) as { count: number }).count)
        const kept = told.filter(({ kind }) => kind !== 'dropped')
        expect(kept.length + missing.reduce((sum, count) => sum + count, 0)).toBe(all.length - from)
        expect(standing([...all.slice(0, from), ...kept])).toEqual(standing(all))
      },
    ),
    { numRuns: 500 },
  )
})

test('its bytes are bounded; one message that is larger than all of it is kept alone', () => {
  const ring = new Ring({ messages: 1_000_000, bytes: 10_000 })
  for (let n = 1; n <= 5_000; n++) ring.add(recorded({ kind: 'event' }, n))
  expect(ring.bytes).toBeLessThanOrEqual(10_000)
  expect(ring.length).toBeGreaterThan(10)
  ring.add({ n: 5_001, t: 1, kind: 'event', json: 'x'.repeat(20_000) })
  expect([...ring.after(0)].map(({ n }) => n)).toEqual([5_001])
})
