/**
 * `npm run screenshots`: the pictures of the README, from a real run in a real browser, into docs/images.
 *
 *   inspector-dark.png    lanes and chart, live
 *   inspector-light.png   held in the middle of a rollback, with the state's panel
 *   inspector-390.png     on a phone
 */
import { mkdirSync } from 'node:fs'
import { startChromium } from '../support/chromium.ts'
import { tell, watched } from './run.ts'
import { until, view, watch } from './viewing.ts'

const folder = new URL('../../docs/images/', import.meta.url).pathname
const shot = (name: string) => ({ path: `${folder}inspector-${name}.png` })

mkdirSync(folder, { recursive: true })
await using browser = await startChromium()
const story = watched({
  name: 'erc20',
  regions: ['europe', 'mena', 'east-asia'],
  failing: {
    'latin-america': 'Cannot deliver region latin-america to redis://cache-sa:6379: connect ECONNREFUSED',
  },
  paces: { blockMs: 6, commitMs: 34, regionMs: 14 },
})
await using viewing = await watch(browser, story.indexer, {
  colorScheme: 'dark',
  viewport: { width: 1440, height: 1180 },
})
const { page } = viewing
const running = story.indexer.run()
await tell(story)
await page.mouse.move(900, 150)
await page.screenshot(shot('dark'))
story.chain.end()
await running
await page.getByText('finished · ended').waitFor()

await using light = await view(browser, viewing.url, {
  colorScheme: 'light',
  viewport: { width: 1440, height: 1180 },
})
await light.page.getByText('finished · ended').waitFor()
await light.page.fill('#log-filter', 'rollingBack')
await light.page.locator('#log [role=option]').first().click()
await light.page.getByText('active · held').waitFor()
await light.page
  .locator('[data-state="indexer.active.control.rollingBack"]')
  .click({ position: { x: 20, y: 14 } })
await light.page.locator('#state .title').waitFor()
await light.page.evaluate('scrollTo(0, 0)')
await light.page.screenshot(shot('light'))

await using phone = await view(browser, viewing.url, {
  colorScheme: 'dark',
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
})
await phone.page.getByText('finished · ended').waitFor()
await phone.page.click('#step-back')
await until(phone.page, `document.getElementById('live').textContent === 'paused'`)
await phone.page.screenshot(shot('390'))
