import { test } from 'vitest'
import { memoryStore } from '../../src/testing/index.ts'
import { walk } from '../support/model.ts'
import { replayModel } from '../support/replay-model.ts'
import { coveringWays, pathOf } from '../support/replay-paths.ts'
import { replayPath, replayTables, type StoreUnderReplay } from '../support/replay-world.ts'
import { HeldTimers } from '../support/held-timers.ts'
import { tableModelOf } from '../../src/staging/table-model.ts'
import { silentLog } from '../../src/log.ts'

const bounds = JSON.parse(process.env['BOUNDS'] ?? '{"budget":2,"forks":1,"failures":1,"undelivered":0,"partial":true,"readAhead":false,"crashes":true}')
const n = Number(process.env['N'] ?? 300)
test('replay', { timeout: 3_000_000 }, async () => {
  let t = performance.now()
  const walked = walk(replayModel(bounds))
  const ways = coveringWays(walked)
  console.log('walk', performance.now() - t, ways.length)
  t = performance.now()
  const timers = new HeldTimers()
  timers.install()
  let failures = 0, count = 0
  const seen = new Map<string, number>()
  try {
    for (let i = 0; i < ways.length; i += Math.max(1, Math.floor(ways.length / n))) {
      count++
      const memory = memoryStore()
      const under: StoreUnderReplay = {
        store: memory,
        rows: async () => ({ account: memory.rows('account'), transfer: memory.rows('transfer') }),
        takeAway: async () => {
          await memory.open({ pipeline: 'replayed', models: Object.entries(replayTables).map(([n, t]) => tableModelOf(n, t, {})), sources: [], ownershipTimeoutMs: 0, signal: new AbortController().signal, log: silentLog })
        },
      }
      try {
        await replayPath(pathOf(walked, ways[i]!), under, timers, bounds.budget, i)
      } catch (e) {
        failures++
        const msg = (e as Error).message
        const k = msg.slice(0, 300)
        if (!seen.has(k) && seen.size < 12) console.log(i, msg)
        seen.set(k, (seen.get(k) ?? 0) + 1)
        if (failures > 60) break
      }
    }
  } finally { timers.restore() }
  console.log('count', count, 'failures', failures, performance.now() - t, 'ms')
})
