/** Reads the project's own files for test/hygiene: what they import, and what their tests are called. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** Files below a folder, with forward slashes, from the project's root. */
export function filesOf(folder: string, extension = '.ts'): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => join(folder, file).replaceAll('\\', '/'))
    .filter((file) => file.endsWith(extension))
    .toSorted()
}

const cache = new Map<string, string>()

export function codeOf(file: string): string {
  let code = cache.get(file)
  if (code === undefined) {
    code = readFileSync(file, 'utf8')
    cache.set(file, code)
  }
  return code
}

export interface Import {
  /** A path from the project's root, or the name of a package. */
  readonly target: string
  /** Erased by the compiler. */
  readonly isType: boolean
}

export function importsOf(file: string): Import[] {
  const found = codeOf(file).matchAll(/^(?:import|export)\s+(type\s)?(?:[\w*{}\s,$]+?\sfrom\s+)?'([^']+)'/gm)
  return [...found].map(([, type, specifier = '']) => ({
    target: specifier.startsWith('.')
      ? normalize(join(dirname(file), specifier)).replaceAll('\\', '/')
      : specifier,
    isType: type !== undefined,
  }))
}

/** First arguments of `test`, `it` and `describe`, with any modifier, where they are written as text. */
export function titlesOf(file: string): string[] {
  if (!file.endsWith('.test.ts')) return []
  const found = codeOf(file).matchAll(
    /\b(?:test|it|describe|check)(?:\.\w+)*(?:\([^()]*\))?\(\s*(?:'((?:[^'\\]|\\.)*)'|`((?:[^`\\]|\\.)*)`|"((?:[^"\\]|\\.)*)")/g,
  )
  return [...found].map(([, single, template, double]) => single ?? template ?? double ?? '')
}

/** The TypeScript blocks of a page, by the file name in their first line; those without one are no programs. */
export function snippetsOf(page: string): Map<string, string> {
  const blocks = [...codeOf(page).matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code ?? '')
  return new Map(
    blocks.flatMap((code) => {
      const name = /^\/\/ (\S+\.ts)\b/.exec(code)?.[1]
      return name === undefined ? [] : [[name, code] as const]
    }),
  )
}
