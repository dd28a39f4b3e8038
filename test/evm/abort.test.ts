import { createHook } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { evmSource } from '../../src/source/evm/index.ts'
import { startAnvil, type Anvil } from '../support/anvil.ts'
import { deployErc20, type Erc20 } from '../support/erc20.ts'
import { startRpcProxy, type RpcProxy } from '../support/rpc-proxy.ts'
import { read, tokenOptions } from './reading.ts'

let anvil: Anvil
let token: Erc20
let proxy: RpcProxy

beforeAll(async () => {
  anvil = await startAnvil()
  token = await deployErc20(anvil)
  await anvil.mine(200)
})
afterAll(() => anvil.stop())
beforeEach(async () => {
  proxy = await startRpcProxy(anvil.url)
})
afterEach(() => proxy.close())

/** Every timer that was set since the file began, seen by Node itself. */
const set = new Set<{ readonly _idleTimeout: number; readonly _destroyed: boolean }>()
const hook = createHook({
  init: (_id, type, _trigger, resource) => {
    if (type === 'Timeout') set.add(resource as never)
  },
})
beforeAll(() => void hook.enable())
afterAll(() => void hook.disable())

/** Ours wait for the better part of an hour (below): nobody else's do. */
const timers = (): number =>
  [...set].filter(({ _destroyed, _idleTimeout }) => !_destroyed && _idleTimeout > 1_000_000).length

/** An abort that had to wait for any of these would run into the test's time-out. */
const options = () => ({
  ...tokenOptions(anvil, token, proxy.url),
  pollingIntervalMs: 3_600_000,
  requestTimeoutMs: 3_600_000,
})

describe('I16: closing leaves neither timer, socket nor listener', () => {
  it('while it waits for the next poll', async () => {
    await using reader = read(evmSource(options()))
    await reader.until('caughtUp')
    const pending = reader.next()
    reader.controller.abort()
    expect(await pending).toBeUndefined()
    await proxy.idle()
    expect(timers()).toBe(0)
    expect(getEventListeners(reader.controller.signal, 'abort')).toEqual([])
  })

  it('while requests hang', async () => {
    const arrived = new Promise<void>((resolve) => {
      let hanging = 0
      proxy.faults = {
        instead: (calls) => {
          if (!calls.some(({ method }) => method === 'eth_getLogs')) return undefined
          if (++hanging === 12) resolve()
          return 'hang'
        },
      }
    })
    await using reader = read(evmSource({ ...options(), concurrency: 12, maxBlockRange: 5 }))
    const pending = reader.next()
    await arrived
    expect(timers()).toBe(12)
    expect(proxy.connections).toBeGreaterThanOrEqual(12)
    reader.controller.abort(new Error('enough'))
    expect(await pending).toBeUndefined()
    await proxy.idle()
    expect(timers()).toBe(0)
    expect(getEventListeners(reader.controller.signal, 'abort')).toEqual([])
  })

  it('while it waits to ask again', async () => {
    const failed = new Promise<void>((resolve) => {
      proxy.faults = {
        instead: () => {
          resolve()
          return { status: 503, body: '', headers: { 'retry-after': '3000' } }
        },
      }
    })
    const source = evmSource({ ...options(), retry: { baseMs: 3_600_000, maxMs: 3_600_000 } })
    await using reader = read(source)
    const pending = reader.next()
    await failed
    reader.controller.abort()
    expect(await pending).toBeUndefined()
    await proxy.idle()
    expect(timers()).toBe(0)
  })

  it('while nobody asks for the next message', async () => {
    await using reader = read(evmSource({ ...options(), maxBlockRange: 5 }))
    await reader.next()
    reader.controller.abort()
    await proxy.idle()
    expect(await reader.next()).toBeUndefined()
    expect(timers()).toBe(0)
  })

  it('by returning the iterator, also while a `next` waits', async () => {
    const { signal } = new AbortController()
    const iterator = evmSource(options()).open({ recent: [], signal })[Symbol.asyncIterator]()
    let message = await iterator.next()
    while (message.done !== true && message.value.type !== 'caughtUp') message = await iterator.next()
    const pending = iterator.next()
    await iterator.return?.()
    expect(await pending).toMatchObject({ done: true })
    await proxy.idle()
    expect(timers()).toBe(0)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('before anything was read: nothing is asked at all', async () => {
    const controller = new AbortController()
    const source = evmSource(options())
    const unread = source.open({ recent: [], signal: controller.signal })[Symbol.asyncIterator]()
    await unread.return?.()
    controller.abort()
    const aborted = source.open({ recent: [], signal: controller.signal })[Symbol.asyncIterator]()
    expect(await aborted.next()).toMatchObject({ done: true })
    expect(proxy.calls).toEqual([])
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  })

  it('after an error, and can be opened again', async () => {
    proxy.faults = { instead: () => ({ status: 401, body: '' }) }
    const source = evmSource(options())
    await using failing = read(source)
    await expect(failing.next()).rejects.toMatchObject({ code: 'RPC_REFUSED' })
    await proxy.idle()
    expect(getEventListeners(failing.controller.signal, 'abort')).toEqual([])
    proxy.faults = {}
    await using reader = read(source)
    await reader.until('caughtUp')
    expect(reader.blocks.at(-1)?.number).toBe(201)
  })
})
