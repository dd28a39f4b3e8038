/** The page: one file beside this module, and what a browser may do with it. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'

const location = new URL('./page/page.html', import.meta.url)

export interface Page {
  readonly html: string
  /** Content-Security-Policy: its own scripts and styles, by hash, and this server; nothing else. */
  readonly policy: string
}

/** Read anew each time: it is asked for once a viewer. */
export async function readPage(): Promise<Page> {
  const html = await readFile(location, 'utf8')
  return { html, policy: policyOf(html) }
}

export function policyOf(html: string): string {
  const scripts = contentsOf(html, 'script')
  // what looks like a style inside a script is none
  const styles = contentsOf(html.replace(elementOf('script'), ''), 'style')
  return [
    "default-src 'none'",
    `script-src ${hashes(scripts)}`,
    `style-src ${hashes(styles)}`,
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

function elementOf(name: 'script' | 'style'): RegExp {
  return new RegExp(`<${name}\\b[^>]*>([\\s\\S]*?)</${name}\\s*>`, 'gi')
}

function contentsOf(html: string, name: 'script' | 'style'): string[] {
  return [...html.matchAll(elementOf(name))].map(([, content]) => content ?? '')
}

function hashes(texts: readonly string[]): string {
  if (texts.length === 0) return "'none'"
  return texts
    .map((text) => `'sha256-${createHash('sha256').update(text.replaceAll('\r\n', '\n')).digest('base64')}'`)
    .join(' ')
}
