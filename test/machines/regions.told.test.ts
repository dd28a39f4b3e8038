/** What region and publisher tell their workers and their parent, word by word. */
import { describe, expect, test } from 'vitest'
import { publisherMachine } from '../../machines/publisher.machine.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import { talk } from './talk.ts'
import type { Talk } from './talk.ts'

describe('a region', () => {
  const input = { region: 'a', limits: { attempts: 2, attemptMs: 5, probeMs: 7 } }
  const failed = { type: 'delivery.failed', error: 'why', permanent: false, retryInMs: 3 }
  const settled = (facts: object) => `#_parent.region.settled ${JSON.stringify({ region: 'a', ...facts })}`
  const parked = '#_parent.region.parked {"region":"a"}'
  const deliver = (attempt: number) => `delivery.deliver {"attempt":${attempt}}`

  test('I14, H55: late twice, quarantined, probed by a single attempt', () => {
    const late = 'xstate.after.attemptDeadline.region.persisting.sending'
    talk(
      regionMachine,
      input,
      ['+delivery'],
      [
        [{ type: 'offer', snapshots: 2 }, [deliver(1)]],
        ['delivery.sent', ['~attemptDeadline']],
        [{ type: 'offer', snapshots: 1 }, []],
        [late, ['delivery.cut', '~retryIn']],
        ['xstate.after.retryIn.region.backingOff', [deliver(2)]],
        ['delivery.sent', ['~attemptDeadline']],
        [
          late,
          [
            'delivery.cut',
            settled({ settled: 3, delivered: false, error: { code: 'REGION_DEADLINE', ms: 5 } }),
            '~probeIn',
          ],
        ],
        ['xstate.after.probeIn.region.quarantined', [deliver(2)]],
        [failed, [settled({ settled: 0, delivered: false, error: 'why' }), '~probeIn']],
      ],
    )
  })

  test('I14: progress begins its attempts anew, and what is delivered is told once', () => {
    talk(
      regionMachine,
      input,
      ['+delivery'],
      [
        [{ type: 'offer', snapshots: 2 }, [deliver(1)]],
        [failed, ['~retryIn']],
        ['xstate.after.retryIn.region.backingOff', [deliver(2)]],
        ['delivery.sent', ['~attemptDeadline']],
        [{ type: 'delivery.sent', progress: true }, ['~attemptDeadline']],
        [failed, ['~retryIn']],
        ['xstate.after.retryIn.region.backingOff', [deliver(2)]],
        ['delivery.done', [settled({ settled: 2, delivered: true, error: null })]],
        [{ type: 'offer', snapshots: 1 }, [deliver(1)]],
        ['delivery.done', [settled({ settled: 1, delivered: true, error: null })]],
      ],
    )
  })

  test('I14: its rows read again are no progress: nothing of them has been delivered', () => {
    talk(
      regionMachine,
      input,
      ['+delivery'],
      [
        [{ type: 'offer', snapshots: 2 }, [deliver(1)]],
        [failed, ['~retryIn']],
        ['xstate.after.retryIn.region.backingOff', [deliver(2)]],
        ['delivery.sent', ['~attemptDeadline']],
        ['delivery.sent', ['~attemptDeadline']],
        [failed, [settled({ settled: 2, delivered: false, error: 'why' }), '~probeIn']],
      ],
    )
  })

  test('what its worker is given, and what an inspector sees of it', () => {
    const started = talk(regionMachine, input, ['+delivery'], [])
    expect(started.spawned[0]!.input).toMatchObject(input)
    const delivered = talk(
      regionMachine,
      input,
      ['+delivery'],
      [
        [{ type: 'offer', snapshots: 1 }, [deliver(1)]],
        [failed, ['~retryIn']],
        ['xstate.after.retryIn.region.backingOff', [deliver(2)]],
        ['delivery.done', [settled({ settled: 1, delivered: true, error: null })]],
      ],
    )
    const sound = { waiting: 0, taken: 0, failures: 0, error: null, permanent: false }
    expect(delivered.chart.context).toMatchObject(sound)
    for (const end of [failed, { type: 'xstate.error.actor.delivery', error: 'why' }]) {
      const lines: Talk = [
        [{ type: 'offer', snapshots: 1 }, [deliver(1)]],
        ['halt', []],
        [end, [parked]],
      ]
      expect(talk(regionMachine, input, ['+delivery'], lines).chart.context).toMatchObject({ error: 'why' })
    }
  })

  test('I14: of what is refused for good only that is given up; another one may be sound', () => {
    const refused = { ...failed, permanent: true }
    talk(
      regionMachine,
      input,
      ['+delivery'],
      [
        [{ type: 'offer', snapshots: 1 }, [deliver(1)]],
        [{ type: 'offer', snapshots: 1 }, []],
        [refused, [settled({ settled: 1, delivered: false, error: 'why' }), deliver(1)]],
        [refused, [settled({ settled: 1, delivered: false, error: 'why' }), '~probeIn']],
        [{ type: 'offer', snapshots: 4 }, [deliver(1)]],
      ],
    )
  })

  test('H77: one that cannot be reached is tried at once after a look that could reach it', () => {
    talk(
      regionMachine,
      { ...input, limits: { ...input.limits, attempts: 1 } },
      ['+delivery'],
      [
        [{ type: 'offer', snapshots: 1 }, [deliver(1)]],
        [failed, [settled({ settled: 1, delivered: false, error: 'why' }), '~probeIn']],
        [{ type: 'offer', snapshots: 2 }, [settled({ settled: 2, delivered: false, error: 'why' })]],
        [
          { type: 'offer', snapshots: 1, found: false },
          [settled({ settled: 1, delivered: false, error: 'why' })],
        ],
        [{ type: 'offer', snapshots: 1, found: true }, ['~retryIn']],
        ['xstate.after.retryIn.region.backingOff', [deliver(1)]],
      ],
    )
  })

  test('I7: halted, it lets the attempt settle or be cut, and parks', () => {
    const begin: Talk = [
      [{ type: 'offer', snapshots: 1 }, [deliver(1)]],
      ['halt', []],
      ['halt', []],
    ]
    const ends: Talk = [
      ['delivery.sent', ['delivery.stop', parked]],
      ['delivery.done', [settled({ settled: 1, delivered: true, error: null }), parked]],
      [failed, [parked]],
      ['cut', ['delivery.cut', parked]],
      [{ type: 'xstate.error.actor.delivery', error: 'broken' }, [parked]],
    ]
    for (const end of ends) {
      talk(regionMachine, input, ['+delivery'], [...begin, end, ['halt', [parked]], ['cut', [parked]]])
    }
    talk(regionMachine, input, ['+delivery'], [['halt', [parked]]])
  })

  test('I13: one whose worker broke gives up what it has and what comes', () => {
    talk(
      regionMachine,
      input,
      ['+delivery'],
      [
        [{ type: 'offer', snapshots: 1 }, [deliver(1)]],
        [{ type: 'offer', snapshots: 2 }, []],
        [
          { type: 'xstate.error.actor.delivery', error: 'broken' },
          [settled({ settled: 3, delivered: false, error: 'broken' })],
        ],
        [{ type: 'offer', snapshots: 1 }, [settled({ settled: 1, delivered: false, error: 'broken' })]],
        ['halt', [parked]],
      ],
    )
  })
})

test('I13: the publisher hands on what it hears, and parks when every region has', () => {
  const settled = { type: 'region.settled', region: 'a', settled: 1, delivered: true, error: null }
  const limits = { attempts: 2, attemptMs: 5, probeMs: 7 }
  const offer = (region: string, snapshots: number, found?: boolean) => ({
    type: 'region.offered',
    region,
    snapshots,
    ...(found === undefined ? {} : { found }),
  })
  const first = talk(
    publisherMachine,
    { limits },
    ['+outbox'],
    [[offer('a', 2, true), ['+region:a', 'region:a.offer {"snapshots":2,"found":true}']]],
  )
  expect(first.spawned[0]!.input).toEqual({ region: 'a', limits })
  const last = talk(
    publisherMachine,
    { limits },
    ['+outbox'],
    [
      [offer('a', 2, true), ['+region:a', 'region:a.offer {"snapshots":2,"found":true}']],
      [offer('b', 1), ['+region:b', 'region:b.offer {"snapshots":1}']],
      [offer('a', 3), ['region:a.offer {"snapshots":3}']],
      [{ type: 'publish.offered', snapshots: 4 }, ['#_parent.publish.offered {"snapshots":4}']],
      [
        { type: 'outbox.looked', snapshots: 4 },
        ['#_parent.region.settled {"settled":4,"delivered":false,"error":null}'],
      ],
      [settled, ['#_parent.region.settled {"region":"a","settled":1,"delivered":true,"error":null}']],
      ['halt', ['outbox.halt', 'region:a.halt', 'region:b.halt']],
      [{ type: 'region.parked', region: 'a' }, []],
      ['cut', ['region:b.cut']],
      [settled, ['#_parent.region.settled {"region":"a","settled":1,"delivered":true,"error":null}']],
      [{ type: 'region.parked', region: 'b' }, ['#_parent.publish.parked']],
      ['halt', ['#_parent.publish.parked']],
      ['cut', ['#_parent.publish.parked']],
    ],
  )
  expect(last.chart.context).toMatchObject({ regions: ['a', 'b'], unparked: [] })
})
