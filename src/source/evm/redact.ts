/** Keeps credentials out of messages: those in an endpoint's URL, also where the endpoint repeats them. */

/** Path segments that look like a key: long, or long enough with digits in them. */
const KEY = /^(?:[A-Za-z0-9_-]{24,}|(?=.*\d)[A-Za-z0-9_-]{16,})$/

export interface Redacted {
  /** The URL without userinfo, query and keys: fit for a message. */
  readonly url: string
  /** `text` with every secret of the URL replaced. */
  clean(text: string): string
}

/**
 * @example
 * redact(new URL('https://me:pw@rpc.example/v2/0123456789abcdef01234567?k=1')).url // 'https://rpc.example/v2/…?…'
 */
export function redact(url: URL): Redacted {
  const segments = url.pathname.split('/')
  const secrets = [
    url.username,
    url.password,
    ...segments.filter((segment) => KEY.test(segment)),
    ...url.searchParams.values(),
  ]
    .flatMap((secret) => [secret, decode(secret)])
    // A short value is no key, and replacing it would garble the message.
    .filter((secret) => secret.length >= 6)
  const path = segments.map((segment) => (KEY.test(segment) ? '…' : segment)).join('/')
  return {
    url: `${url.protocol}//${url.host}${path}${url.search === '' ? '' : '?…'}`,
    clean: (text) => secrets.reduce((clean, secret) => clean.replaceAll(secret, '…'), text),
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
