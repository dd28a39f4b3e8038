/** The host's logger. Any of pino, winston, console fits through a three-line binding; silent by default. */
export interface Logger {
  debug(message: string, facts?: Readonly<Record<string, unknown>>): void
  info(message: string, facts?: Readonly<Record<string, unknown>>): void
  warn(message: string, facts?: Readonly<Record<string, unknown>>): void
  error(message: string, facts?: Readonly<Record<string, unknown>>): void
}

const nothing = () => undefined
export const silentLog: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing }
