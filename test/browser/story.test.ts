/** The page on a real run with a fork, a stall and a failed region: it shows each of them, live and afterwards. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Browser } from 'playwright-core'
import { hasChromium, startChromium } from '../support/chromium.ts'
import { tell, watched, type Watched } from './run.ts'
import { shownN, textOf, until, view, watch, type Viewing } from './viewing.ts'

const hostileRegion = 'west <img src=x onerror=alert(1)>'
const hostileWords = 'cannot reach <script>window.pwned = 1</script><b>redis</b>'

describe.skipIf(!hasChromium())('the inspector on a run', () => {
  let browser: Browser
  let story: Watched
  let viewing: Viewing

  beforeAll(async () => {
    browser = await startChromium()
    story = watched({ failing: { [hostileRegion]: hostileWords } })
    viewing = await watch(browser, story.indexer)
    const running = story.indexer.run()
    await tell(story)
    story.chain.end()
    await running
    await viewing.page.getByText('finished · ended').waitFor()
  })

  afterAll(async () => {
    await viewing[Symbol.asyncDispose]()
    await browser.close()
  })

  const { log, filter } = {
    log: () => viewing.page.locator('#log [role=option]'),
    filter: (text: string) => viewing.page.fill('#log-filter', text),
  }

  /** The log with that filter, all of it known. */
  async function found(text: string): Promise<string[]> {
    await filter(text)
    await log().first().waitFor()
    const texts = await log().allTextContents()
    await filter('')
    return texts
  }

  test('it shows the fork and the rollback, in the lanes and in the log', async () => {
    expect((await found('fork')).join('\n')).toContain('source chain')
    expect((await found('rollback.committed')).length).toBeGreaterThan(0)
    expect(await textOf(viewing.page, '#legend li:not([hidden]) >> text=rollback')).toContain('rollback')
  })

  test('it shows the stall: the budget was full and compute waited for it', async () => {
    const { page } = viewing
    expect(await page.locator('#legend li:not([hidden])').allTextContents()).toContain('budget wait')
    const shares = await page.locator('.stall').first().locator('li:not([hidden])').allTextContents()
    expect(shares.some((share) => /^budget wait \d+ %/.test(share))).toBe(true)
    expect((await found('compute.waiting')).length).toBeGreaterThan(0)
  })

  test('it shows the failed region with its error; both are text, whatever they say', async () => {
    const { page } = viewing
    const row = page.locator('#regions tbody tr', { hasText: hostileRegion })
    expect(await row.textContent()).toContain('quarantined')
    expect(await textOf(page, '#regions .failure')).toContain(hostileWords)
    await page.getByRole('button', { name: `chart of region ${hostileRegion}` }).click()
    await until(page, `document.querySelector('#chart svg').getAttribute('aria-label') === 'chart of region'`)
    expect((await found('west')).length).toBeGreaterThan(0)
    expect(await page.evaluate('window.pwned')).toBe(undefined)
    expect(await page.locator('img').count()).toBe(0)
    await page.getByRole('button', { name: /^indexer/ }).click()
  })

  test('it shows frontiers, rates and shares', async () => {
    const { page } = viewing
    const committed = story.indexer.status().committed.toString()
    const tiles = await page.locator('.tile').allTextContents()
    expect(tiles[0]).toMatch(new RegExp(`^processed${committed}`))
    expect(tiles[1]).toBe(`committed${committed}nothing behind`)
    expect(tiles[2]).toContain('1 of 3 regions not well')
    expect(tiles[4]).toContain('of 400 kB')
    expect(Number(/0\.\d+|1\.00/.exec(tiles[5]!)?.[0])).toBeGreaterThan(0.3)
  })

  test('a span of the lanes tells its batch; the keyboard goes along them', async () => {
    const { page } = viewing
    await page.selectOption('#stretch', 'all')
    await page.focus('#lanes')
    await page.keyboard.press('ArrowLeft')
    await until(page, `document.getElementById('lanes-said').textContent !== ''`)
    for (let press = 0; press < 12; press++) await page.keyboard.press('ArrowLeft')
    await page.keyboard.press('ArrowDown')
    await until(page, `/group \\d+ batch|^commit/.test(document.getElementById('lanes-said').textContent)`)
    expect(await textOf(page, '#lanes-tip')).toContain('rows')
    await page.keyboard.press('Enter')
    await page.getByText('· held').waitFor()
    await page.click('#live')
  })

  test('time travel: step, scrub, to the state as it was', async () => {
    const { page } = viewing
    await page.getByText('finished · ended').waitFor()
    const last = await shownN(page)
    await page.keyboard.press('ArrowLeft')
    await until(
      page,
      `/n ${(last - 1).toLocaleString('en-US')}$/.test(document.getElementById('where').textContent)`,
    )
    await page.keyboard.press('ArrowRight')
    await until(
      page,
      `/n ${last.toLocaleString('en-US')}$/.test(document.getElementById('where').textContent)`,
    )
    // to the moment in which the rollback was on the wire
    await filter('rollingBack')
    await log().first().click()
    await page.getByText('active · held').waitFor()
    const active = page.locator('[data-state="indexer.active.control.rollingBack.restoring"]')
    await until(
      page,
      `document.querySelector('[data-state="indexer.active.control.rollingBack.restoring"]').classList.contains('active')`,
    )
    expect(await active.getAttribute('aria-label')).toContain(', active')
    await filter('')
    await active.click()
    const panel = await textOf(page, '#state')
    expect(panel).toContain('The rollback is on the wire.')
    expect(panel).toContain('entered 1 time')
    expect(panel).toMatch(/I5 rollback touches the database only when no commit is in flight/)
    await page.click('#live')
    await page.getByText('finished · ended').waitFor()
  })

  test('a link leads to its moment', async () => {
    const { page } = viewing
    await page.evaluate(`location.hash = '#n=120'`)
    await until(page, `/n 120$/.test(document.getElementById('where').textContent)`)
    const status = await textOf(page, '#status')
    expect(status).toBe('active · held')
    await page.keyboard.press('End')
    await until(page, `location.hash === ''`)
    // in a page of its own, which has to wait for the message first
    await using other = await view(browser, viewing.url, { hash: '#n=120' })
    await until(other.page, `/n 120$/.test(document.getElementById('where').textContent)`)
    expect(await textOf(other.page, '#status')).toBe('active · held')
    expect(other.faults).toEqual([])
  })

  test('the log is filtered by text and by kind', async () => {
    const { page } = viewing
    const texts = await found('batch.committed')
    expect(texts.length).toBeGreaterThan(0)
    expect(texts.every((text) => text.includes('batch.committed'))).toBe(true)
    for (const kind of ['steps', 'events']) await page.click(`#log-kinds button:text("${kind}")`)
    await until(page, `document.querySelectorAll('#log [role=option]:not(.of-trouble)').length === 0`)
    await log().first().waitFor()
    expect((await log().allTextContents()).join('\n')).toContain('region.settled')
    for (const kind of ['steps', 'events']) await page.click(`#log-kinds button:text("${kind}")`)
  })

  test('nothing was said in the console, and nobody else was asked', () => {
    expect(viewing.faults).toEqual([])
  })
})

describe.skipIf(!hasChromium())('the inspector on a failure', () => {
  test('the outcome is shown whole, with every cause', async () => {
    await using browser = await startChromium()
    const story = watched({ paces: { blockMs: 0, commitMs: 0, regionMs: 0 } })
    await using viewing = await watch(browser, story.indexer)
    const { page } = viewing
    story.breakHandlers(new Error('no <i>balance</i>', { cause: new TypeError('not a number') }))
    story.grow(2)
    const outcome = await story.indexer.run()
    expect(outcome.status).toBe('failed')
    await page.getByText('failed · ended').waitFor()
    const shown = await textOf(page, '#outcome')
    for (const part of ['HANDLER_FAILED', 'no <i>balance</i>', 'TypeError', 'not a number', 'because of']) {
      expect(shown).toContain(part)
    }
    expect(await page.locator('#outcome i').count()).toBe(0)
    expect(viewing.faults).toEqual([])
  })
})
