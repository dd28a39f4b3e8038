/** What no inspector is shown, whatever else the user keeps from it: credentials by their usual names, and in URLs. */

/**
 * Called with every property before it is looked at: of facts, events, statuses, errors and outcomes. What it returns is
 * shown in place of `value`; `undefined` leaves the property out. Elements of arrays have their index as key. What it
 * throws is caught, and the value is not shown.
 */
export type Redact = (key: string, value: unknown) => unknown

const secret =
  /^(?:pass(?:word|wd|phrase)?|secret|credentials?|authorization|cookie|api[-_]?key|private[-_]?key|connection[-_]?string)$/i

export function isSecret(key: string): boolean {
  return secret.test(key)
}

/** `postgres://user:password@host` without what stands before the `@`. */
export function withoutCredentials(text: string): string {
  if (!text.includes('://')) return text
  return text.replace(/:\/\/[^\s/]*@/g, '://…@')
}
