/**
 * A Chromium for the tests of the inspector's page: the one CHROMIUM names, or one of the machine. There is no package
 * that would bring one; where there is none, whoever asks is told so, and what needs it is skipped with a line that
 * nobody overlooks.
 */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { chromium, type Browser } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']

/** Its executable; undefined: there is none. @throws when CHROMIUM names a file that is not there */
export function chromiumPath(): string | undefined {
  const given = process.env['CHROMIUM']
  if (given !== undefined && given !== '') {
    if (!existsSync(given)) throw new Error(`CHROMIUM names ${given}, and there is no such file`)
    return given
  }
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const candidates = folders.flatMap((folder) => names.map((name) => join(folder, name)))
  const macOS = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'
  return ['/usr/bin/chromium', ...candidates, macOS].find((path) => existsSync(path))
}

/** Says so once, where it is looked for. */
export function hasChromium(): boolean {
  if (chromiumPath() !== undefined) return true
  process.stderr.write(
    '\n!!! SKIPPED: the tests of the inspector in a browser. There is no Chromium in PATH and CHROMIUM names none.\n' +
      '!!!          Debian, Ubuntu: apt-get install chromium\n\n',
  )
  return false
}

/** Headless, away from the network: it asks nobody anything but the page's own server. */
export function startChromium(): Promise<Browser> {
  const executablePath = chromiumPath()
  if (executablePath === undefined) throw new Error('there is no Chromium: see test/support/chromium.ts')
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--force-color-profile=srgb',
    ],
  })
}
