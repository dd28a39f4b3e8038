/** Names and literals as SQL text. Every name that we put into a statement goes through here. */
import pg from 'pg'

export const quoteName = (name: string): string => pg.escapeIdentifier(name)

export const quoteText = (text: string): string => pg.escapeLiteral(text)

export const quoteNames = (names: readonly string[]): string => names.map(quoteName).join(', ')

/** `"schema"."name"`: never left to the search path. */
export const qualified = (schema: string, name: string): string => `${quoteName(schema)}.${quoteName(name)}`
