/**
 * Who may ask. The server is on loopback, but so is every page in the user's browser: a request must name this machine
 * (another name may be an attacker's that resolves to it), come from this page or from no page at all, and only read.
 */
import type { IncomingMessage } from 'node:http'

export interface Refused {
  readonly status: 403 | 405
  readonly message: string
}

const loopbackNames = ['127.0.0.1', 'localhost', '[::1]']

/** @param host the address that the server was told to listen on; a request may name that, too */
export function refusalOf({ method, headers }: IncomingMessage, host: string): Refused | undefined {
  if (method !== 'GET') return { status: 405, message: 'The inspector only shows: GET is all it takes.' }
  const name = hostNameOf(headers.host)
  if (name === undefined || ![...loopbackNames, bracketed(host)].includes(name)) {
    return {
      status: 403,
      message: `Ask for it as ${[...loopbackNames.slice(0, 2), host].join(', ')}: it answers to no other host name.`,
    }
  }
  const { origin } = headers
  if (origin !== undefined && origin.toLowerCase() !== `http://${String(headers.host).toLowerCase()}`) {
    return { status: 403, message: 'It answers no other origin.' }
  }
  // a script or an image of another page says no origin, but browsers say where it is from
  const site = headers['sec-fetch-site']
  const isLink = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
  if (site !== undefined && site !== 'same-origin' && site !== 'none' && !isLink) {
    return { status: 403, message: 'It answers no other site.' }
  }
  return undefined
}

/** Without the port: it may be forwarded. */
function hostNameOf(header: string | undefined): string | undefined {
  const found = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i.exec(header ?? '')
  return found?.[1]?.toLowerCase()
}

export function bracketed(host: string): string {
  return (host.includes(':') && !host.startsWith('[') ? `[${host}]` : host).toLowerCase()
}
