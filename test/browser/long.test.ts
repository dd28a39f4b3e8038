/** 10,000 batches recorded: whatever is done, it is on the screen within 200 ms; what the page keeps is bounded. */
import { describe, expect, test } from 'vitest'
import { showTrace } from '../../src/inspect/show-trace.ts'
import { silentLog } from '../../src/log.ts'
import { hasChromium, startChromium } from '../support/chromium.ts'
import { longRecording } from './recordings.ts'
import { until, view } from './viewing.ts'

const worstMs = 200

/** What a person does, as the page hears it. */
const doings: Readonly<Record<string, string>> = {
  'show all of it': `choose('stretch', 'all')`,
  'step back': `byId('step-back').click()`,
  'step back again': `byId('step-back').click()`,
  'to the middle': `choose('scrubber', Math.floor(byId('scrubber').max / 2), 'input')`,
  'to the beginning': `choose('scrubber', 1000, 'input')`,
  'a batch forth': `byId('batch-forth').click()`,
  'a state': `document.querySelector('[data-state="indexer.active.compute.cpu.handling"]').dispatchEvent(new MouseEvent('click', { bubbles: true }))`,
  'another chart': `document.querySelectorAll('#actors button')[1].click()`,
  'filter the log': `choose('log-filter', 'committed', 'input')`,
  'another filter': `choose('log-filter', 'r20', 'input')`,
  'a kind less': `document.querySelector('#log-kinds button').click()`,
  'point at a lane': `byId('lanes').dispatchEvent(new PointerEvent('pointermove', { clientX: 700, clientY: byId('lanes').getBoundingClientRect().top + 60, bubbles: true }))`,
  'thirty batches': `choose('stretch', '30 batches')`,
  theme: `byId('theme').click()`,
  live: `byId('live').click()`,
}

const prelude = `
  const byId = (id) => document.getElementById(id)
  const choose = (id, value, event = 'change') => {
    byId(id).value = value
    byId(id).dispatchEvent(new Event(event, { bubbles: true }))
  }`

describe.skipIf(!hasChromium())('a long recording', () => {
  test('of 10,000 batches: every interaction is painted soon, and the log is whole', async () => {
    await using recording = await longRecording(500, 20)
    const trace = await showTrace(recording.path, { host: '127.0.0.1', port: 0, log: silentLog })
    try {
      await using browser = await startChromium()
      await using viewing = await view(browser, trace.url)
      const { page } = viewing
      const began = performance.now()
      await page.getByText('finished · ended').waitFor({ timeout: 30_000 })
      const loadMs = performance.now() - began
      await page.click('#log-kinds button:text("meter")')
      await until(
        page,
        `document.getElementById('log-count').textContent.startsWith('${recording.messages.toLocaleString('en-US')}')`,
      )
      const times: [string, number][] = []
      for (const [name, script] of Object.entries(doings)) {
        const ms = await page.evaluate<number>(
          `new Promise((painted) => {${prelude}
            const began = performance.now()
            ${script}
            requestAnimationFrame(() => requestAnimationFrame(() => painted(performance.now() - began)))
          })`,
        )
        times.push([name, ms])
      }
      const sorted = times.map(([, ms]) => ms).toSorted((a, b) => a - b)
      const median = sorted[Math.floor(sorted.length / 2)]!
      const heap = await page.evaluate<number>('performance.memory.usedJSHeapSize')
      console.log(
        `${recording.batches} batches, ${recording.messages} messages: loaded in ${Math.round(loadMs)} ms, ` +
          `${Math.round(heap / 1e6)} MB, interaction to paint: median ${Math.round(median)} ms, ` +
          times.map(([name, ms]) => `${name} ${Math.round(ms)}`).join(', '),
      )
      expect(recording.batches).toBe(10_000)
      expect(median).toBeLessThan(worstMs)
      expect(sorted.at(-2)).toBeLessThan(worstMs * 2)
      expect(await page.locator('#log [role=option]').count()).toBeLessThan(60)
      expect(viewing.faults).toEqual([])
    } finally {
      await trace.close()
    }
  })
})
