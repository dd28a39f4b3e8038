/** A viewer: a page in a browser that notes everything that must not happen. */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Indexer } from '../../src/index.ts'
import { inspect } from '../../src/inspect/index.ts'

export interface Viewing extends AsyncDisposable {
  readonly page: Page
  readonly url: string
  /** Errors in the console, exceptions, dialogs, requests to any other host. */
  readonly faults: readonly string[]
}

export async function view(
  browser: Browser,
  url: string,
  options: BrowserContextOptions & { readonly hash?: string } = {},
): Promise<Viewing> {
  const { hash = '', ...rest } = options
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...rest })
  const page = await context.newPage()
  page.setDefaultTimeout(10_000)
  const faults: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(String(error.stack)))
  page.on('dialog', (dialog) => {
    faults.push(`a dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  const { origin } = new URL(url)
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) faults.push(`a request to ${request.url()}`)
  })
  await page.goto(`${url}${hash}`)
  return { page, url, faults, [Symbol.asyncDispose]: () => context.close() }
}

/** Watches an indexer from before its run on: the page is connected when this resolves. */
export async function watch(
  browser: Browser,
  indexer: Indexer,
  options: BrowserContextOptions = {},
): Promise<Viewing> {
  const inspector = await inspect(indexer)
  const viewing = await view(browser, inspector.url, options)
  await viewing.page.getByText('no run yet · live').waitFor()
  return {
    ...viewing,
    async [Symbol.asyncDispose]() {
      await viewing[Symbol.asyncDispose]()
      await inspector.close()
    },
  }
}

export const textOf = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).textContent()) ?? ''

/** Number of the message that the page shows. */
export async function shownN(page: Page): Promise<number> {
  const text = await textOf(page, '#where')
  return Number(/n ([\d,]+)/.exec(text)?.[1]?.replaceAll(',', ''))
}

/** Waits until an expression of the page is true; asked from outside, for the page's policy lets nothing be evaluated. */
export async function until(page: Page, expression: string): Promise<void> {
  const began = performance.now()
  while ((await page.evaluate(expression)) !== true) {
    if (performance.now() - began > 10_000) throw new Error(`not true after 10 s: ${expression}`)
    await page.evaluate('new Promise((painted) => requestAnimationFrame(painted))')
  }
}
