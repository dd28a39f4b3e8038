/** Whatever it is given, the serialiser makes JSON of it that is not too large, and never throws. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HandlerError } from '../../src/index.ts'
import { serialise, type Bounds } from '../../src/inspect/serialise.ts'

const circular: Record<string, unknown> = { name: 'ring' }
circular['self'] = circular
const shared = { n: 1 }
const throwing = {
  get boom() {
    throw new Error('no')
  },
  fine: 1,
}
const hostile = new Proxy(
  {},
  {
    ownKeys() {
      throw new Error('no')
    },
  },
)
const impostor = new Error('x')
Object.defineProperty(impostor, 'message', {
  get() {
    throw new Error('no')
  },
})

test.each([
  ['bigint', 12345678901234567890n, '12345678901234567890'],
  [
    'a Map',
    new Map<unknown, unknown>([
      ['a', 1n],
      [{ b: 1 }, undefined],
    ]),
    {
      $map: [
        ['a', '1'],
        [{ b: 1 }, null],
      ],
    },
  ],
  ['a Set', new Set([1n, 'b']), { $set: ['1', 'b'] }],
  ['a Date', new Date(0), '1970-01-01T00:00:00.000Z'],
  ['no Date', new Date(Number.NaN), 'Invalid Date'],
  ['bytes', Uint8Array.of(1, 255), '0x01ff'],
  ['many bytes', Buffer.alloc(100), `0x${'00'.repeat(64)}…36 more bytes`],
  ['what JSON has no number for', [Number.NaN, Infinity, -Infinity], ['NaN', 'Infinity', '-Infinity']],
  [
    'a function, a symbol, nothing',
    [() => 1, Symbol('s'), undefined, null],
    ['…function', 'Symbol(s)', null, null],
  ],
  ['left out like JSON does', { a: undefined, b: 1 }, { b: 1 }],
  ['a circle', circular, { name: 'ring', self: '…circular' }],
  ['the same twice is no circle', [shared, shared], [{ n: 1 }, { n: 1 }]],
  ['a getter that throws', throwing, { boom: '…threw', fine: 1 }],
  ['a proxy that throws', { hostile }, { hostile: '…unreadable' }],
  ['a toJSON of its own', { toJSON: () => 'mine', a: 1 }, { toJSON: '…function', a: 1 }],
  ['a URL with a password', 'at postgres://me:p@ss@host/db', 'at postgres://…@host/db'],
  [
    'credentials by name',
    { password: 'x', apiKey: 'x', ApiKey: 1n, passage: 'y' },
    { password: '…redacted', apiKey: '…redacted', ApiKey: '…redacted', passage: 'y' },
  ],
])('%s', (_what, value, expected) => {
  expect(JSON.parse(JSON.stringify(serialise(value)))).toEqual(expected)
})

test('a property named __proto__ is one like any other', () => {
  const plain = serialise(JSON.parse('{ "__proto__": { "polluted": true } }'))
  expect(JSON.stringify(plain)).toBe('{"__proto__":{"polluted":true}}')
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
})

test('errors: name, message, code, facts, causes; a stack where it is wanted', () => {
  const cause = Object.assign(new TypeError('deep'), { code: 'E42' })
  const error = new HandlerError('HANDLER_FAILED', 'it failed', { cause, batch: { from: 1n, upTo: 2n } })
  expect(serialise(error, { stacks: false })).toEqual({
    name: 'HandlerError',
    message: 'it failed',
    code: 'HANDLER_FAILED',
    batch: { from: '1', upTo: '2' },
    cause: { name: 'TypeError', message: 'deep', code: 'E42' },
  })
  expect(serialise(error)).toMatchObject({ stack: expect.stringContaining('at ') as string })
  expect(serialise(new AggregateError([new Error('one')], 'all'), { stacks: false })).toEqual({
    name: 'AggregateError',
    message: 'all',
    errors: [{ name: 'Error', message: 'one' }],
  })
  expect(serialise(impostor, { stacks: false })).toEqual({ name: 'Error', message: '…threw' })
})

test('what a driver sent is no fact of its error', () => {
  const error = Object.assign(new Error('WRONGPASS'), { command: { name: 'auth', args: ['me', 'secret'] } })
  expect(JSON.stringify(serialise(error))).not.toContain('secret')
})

test('redact sees every property by its key; what it throws shows nothing', () => {
  const value = { row: { email: 'a@b', id: 1 }, list: ['x'], gone: 1, bad: 'visible' }
  const redact = (key: string, inner: unknown) => {
    if (key === 'bad') throw new Error('no')
    if (key === 'gone') return undefined
    return key === 'email' ? 'hidden' : inner
  }
  expect(serialise(value, { redact })).toEqual({
    row: { email: 'hidden', id: 1 },
    list: ['x'],
    bad: '…redact() threw',
  })
})

test('depth, entries, texts and all of them together are bounded, and the bound can be seen', () => {
  const bounds: Bounds = { depth: 2, entries: 3, values: 10, text: 5, texts: 40, binary: 4 }
  expect(serialise({ a: { b: { c: 1 } } }, { bounds })).toEqual({ a: { b: '…deeper' } })
  expect(serialise([1, 2, 3, 4, 5], { bounds })).toEqual([1, 2, 3, '…2 more'])
  expect(serialise({ a: 1, b: 2, c: 3, d: 4 }, { bounds })).toEqual({ a: 1, b: 2, c: 3, '…': '1 more' })
  expect(serialise('123456789', { bounds })).toBe('12345…4 more characters')
  const wide = Array.from({ length: 100 }, () => Array.from({ length: 100 }, () => 'x'.repeat(1_000)))
  expect(JSON.stringify(serialise(wide)).length).toBeLessThan(150_000)
})

test('anything at all becomes JSON of a bounded size', () => {
  const anything = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
    withObjectString: true,
    withTypedArray: true,
    withSparseArray: true,
  })
  fc.assert(
    fc.property(anything, (value) => {
      expect((JSON.stringify(serialise(value)) ?? '').length).toBeLessThan(400_000)
    }),
    { numRuns: 300 },
  )
})
