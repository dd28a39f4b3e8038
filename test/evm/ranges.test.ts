import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LOGS_PER_ANSWER, RangePlanner } from '../../src/source/evm/ranges.ts'

describe('range planner', () => {
  it('doubles while nothing is refused, up to the limit', () => {
    const planner = new RangePlanner({ maxBlockRange: 3_000 })
    const spans = [planner.span]
    for (let i = 0; i < 4; i++) {
      planner.succeeded(planner.span, 0)
      spans.push(planner.span)
    }
    expect(spans).toEqual([500, 1_000, 2_000, 3_000, 3_000])
  })

  it('halves when refused, takes a hint that is smaller, and ignores one that is not', () => {
    const planner = new RangePlanner({ maxBlockRange: 10_000 })
    planner.tooMany(500)
    expect(planner.span).toBe(250)
    planner.tooMany(250, { blocks: 100 })
    expect(planner.span).toBe(100)
    planner.tooMany(100, { blocks: 100 })
    expect(planner.span).toBe(50)
  })

  it('grows back gradually, and stays below a limit that holds always', () => {
    const planner = new RangePlanner({ maxBlockRange: 10_000 })
    planner.tooMany(500, { blocks: 300, always: true })
    planner.tooMany(300)
    expect(planner.span).toBe(150)
    planner.succeeded(150, 0)
    expect(planner.span).toBe(188)
    for (let i = 0; i < 20; i++) planner.succeeded(planner.span, 0)
    expect(planner.span).toBe(300)
  })

  it('questions a limit after many successes', () => {
    const planner = new RangePlanner({ maxBlockRange: 10_000 })
    planner.tooMany(500, { blocks: 300, always: true })
    for (let i = 0; i < 60; i++) planner.succeeded(planner.span, 0)
    expect(planner.span).toBeGreaterThan(300)
  })

  it('steers towards a number of logs per answer', () => {
    const planner = new RangePlanner({ maxBlockRange: 10_000 })
    planner.succeeded(500, 10 * LOGS_PER_ANSWER)
    expect(planner.span).toBe(50)
    planner.succeeded(50, LOGS_PER_ANSWER)
    expect(planner.span).toBe(50)
    planner.succeeded(50, LOGS_PER_ANSWER / 2)
    expect(planner.span).toBe(100)
  })

  it('is always at least 1, at most the limit, and smaller than what was refused', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('ok' as const), logs: fc.nat(100_000) }),
      fc.record({
        kind: fc.constant('refused' as const),
        blocks: fc.option(fc.integer({ min: 0, max: 20_000 }), { nil: undefined }),
        always: fc.boolean(),
      }),
    )
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20_000 }),
        fc.array(step, { maxLength: 80 }),
        (maxBlockRange, steps) => {
          const planner = new RangePlanner({ maxBlockRange })
          for (const one of steps) {
            const { span } = planner
            if (one.kind === 'ok') planner.succeeded(span, one.logs)
            else {
              planner.tooMany(span, one)
              expect(planner.span).toBeLessThan(Math.max(span, 2))
            }
            expect(planner.span).toBeGreaterThanOrEqual(1)
            expect(planner.span).toBeLessThanOrEqual(maxBlockRange)
          }
        },
      ),
    )
  })
})
