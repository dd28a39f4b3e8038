/** What is shown of an error: what it says, what it knows, why it came about. */

const told = ['name', 'message', 'code', 'stack', 'cause', 'errors']

export function errorKeys(error: Error, withStack: boolean): string[] {
  const facts = Object.keys(error).filter((key) => !told.includes(key))
  return ['name', 'message', 'code', ...facts, 'errors', ...(withStack ? ['stack'] : []), 'cause']
}

/** Each on its own: any of them may throw. */
export function readOfError(error: object, key: string): unknown {
  const fact = (error as Readonly<Record<string, unknown>>)[key]
  // ioredis says with an error what was sent: bodies, and the password of an AUTH
  if (key !== 'command' || typeof fact !== 'object' || fact === null || !('args' in fact)) return fact
  return { ...fact, args: '…redacted' }
}
