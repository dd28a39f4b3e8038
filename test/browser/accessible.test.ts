/** axe on the page, full of things to show: in both themes, wide and narrow; and what a keyboard alone can do. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Browser } from 'playwright-core'
import { hasChromium, startChromium } from '../support/chromium.ts'
import { watched } from './run.ts'
import { textOf, until, view, watch, type Viewing } from './viewing.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

interface Violation {
  readonly id: string
  readonly impact: string | null
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

describe.skipIf(!hasChromium())('the inspector for everybody', () => {
  let browser: Browser
  let viewing: Viewing

  beforeAll(async () => {
    browser = await startChromium()
    const story = watched({ failing: { west: 'cannot reach redis' }, attempts: 1 })
    viewing = await watch(browser, story.indexer)
    const running = story.indexer.run()
    story.grow(20)
    story.chain.end()
    await running
    await viewing.page.getByText('finished · ended').waitFor()
  })

  afterAll(async () => {
    await viewing[Symbol.asyncDispose]()
    await browser.close()
  })

  const views = ['light', 'dark'].flatMap((scheme) =>
    [1280, 390].map((width) => ({ scheme, width }) as const),
  )

  test.each(views)('axe finds nothing serious: $scheme, $width pixels wide', async ({ scheme, width }) => {
    await using seen = await view(browser, viewing.url, {
      viewport: { width, height: 900 },
      colorScheme: scheme as 'light' | 'dark',
      reducedMotion: 'reduce',
    })
    const { page } = seen
    await page.getByText('finished · ended').waitFor()
    await page.locator('[data-state="indexer.active.compute.waiting"]').focus()
    await page.keyboard.press('Enter')
    await page.locator('#state .title').waitFor()
    // the run's whole outcome and a message, opened
    for (const summary of await page.locator('main > section summary, .message summary').all())
      await summary.click()
    await page.evaluate(axe)
    const found = await page.evaluate<Violation[]>(
      `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }).then(({ violations }) => violations)`,
    )
    const serious = found.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    expect(
      serious.map(({ id, nodes }) => ({
        id,
        nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => ({ html, failureSummary })),
      })),
    ).toEqual([])
    // nothing is wider than the screen
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
    expect(seen.faults).toEqual([])
  })

  test('with the keyboard alone: help, chart, log', async () => {
    const { page } = viewing
    await page.evaluate('document.activeElement.blur()')
    await page.keyboard.press('?')
    await page.getByRole('dialog', { name: 'keys' }).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    await page.keyboard.press('/')
    await until(page, `document.activeElement.id === 'log-filter'`)
    await page.keyboard.type('pull.ended')
    await page.locator('#log [role=option]').first().waitFor()
    await page.locator('#log').focus()
    await page.keyboard.press('ArrowUp')
    await until(
      page,
      `document.querySelector('#log [aria-selected=true]')?.textContent.includes('pull.ended') ?? false`,
    )
    await page.keyboard.press('End')
    await page.fill('#log-filter', '')
    // one stop for the whole chart, arrows inside
    expect(await page.locator('#chart [tabindex="0"]').count()).toBe(1)
    await page.locator('#chart [tabindex="0"]').focus()
    const here = () => page.evaluate('document.activeElement.dataset.state')
    const before = await here()
    await page.keyboard.press('ArrowDown')
    expect(await here()).not.toBe(before)
    await page.keyboard.press('Enter')
    await until(page, `!document.getElementById('state').classList.contains('folded')`)
    expect(await textOf(page, '#state .title')).not.toBe('')
  })
})
