/**
 * The ids of invariants (I), hazards (H) and origins (A, B): where they are told, which of them a title names, and which
 * have no test yet. docs/tests-by-id.ts draws its table from here; spec.test.ts holds the two sides together.
 */
import { readFileSync } from 'node:fs'
import { codeOf, filesOf, titlesOf } from '../support/house.ts'

export type Letter = 'I' | 'H' | 'A' | 'B'

const read = (page: string) => readFileSync(page, 'utf8')

/** Ids in the order in which the pages tell them, with doubles. */
export function toldIds(letter: Letter): string[] {
  switch (letter) {
    case 'I':
      return idsOfRows(sectionOf(read('docs/spec.md'), 'Invariants'), letter)
    case 'H':
      return [...read('docs/hazards.md').matchAll(/^- (H\d+) /gm)].map(([, id]) => id!)
    case 'A':
    case 'B':
      return idsOfRows(read('docs/origins.md'), letter)
    default:
      throw new Error(`unreachable: ${String(letter satisfies never)}`)
  }
}

/** What cannot have a test yet, with the reason: by hand, in docs/spec.md. */
export function withoutTestYet(): ReadonlyMap<string, string> {
  return rowsOf(sectionOf(read('docs/spec.md'), 'No test yet'), 'IH')
}

/** Id → the cells after it. */
export function rowsOf(text: string, letters: string): ReadonlyMap<string, string> {
  const rows = text.matchAll(new RegExp(`^\\| ([${letters}]\\d+) +\\|(.*)\\|$`, 'gm'))
  return new Map([...rows].map(([, id, cells]) => [id!, cells!.trim()]))
}

function idsOfRows(text: string, letter: Letter): string[] {
  return [...text.matchAll(new RegExp(`^\\| (${letter}\\d+) +\\|`, 'gm'))].map(([, id]) => id!)
}

export function sectionOf(page: string, heading: string): string {
  const [, section] = page.split(new RegExp(`^## ${heading}\n`, 'm'))
  if (section === undefined) throw new Error(`no section '${heading}'`)
  return section.split(/^## /m)[0]!
}

/** `H21–H25 H33` names six. */
export function idsIn(text: string): string[] {
  const found = text.matchAll(/\b([IHAB])(\d+)(?:[–-]\1?(\d+))?\b/g)
  return [...found].flatMap(([, letter = '', from, upTo = from]) => {
    const [first, last] = [Number(from), Number(upTo)]
    return Array.from({ length: Math.max(1, last - first + 1) }, (_, at) => `${letter}${first + at}`)
  })
}

export interface Title {
  readonly file: string
  readonly title: string
}

export function titles(): Title[] {
  const files = filesOf('test').filter((file) => file.endsWith('.test.ts'))
  return files.flatMap((file) =>
    [...new Set([...titlesOf(file), ...titlesAfterTables(codeOf(file))])].map((title) => ({ file, title })),
  )
}

/** Id → files, in order. */
export function filesById(): ReadonlyMap<string, readonly string[]> {
  const naming = new Map<string, Set<string>>()
  for (const { file, title } of titles()) {
    for (const id of idsIn(title)) naming.set(id, (naming.get(id) ?? new Set()).add(file))
  }
  return new Map([...naming].map(([id, files]) => [id, [...files].toSorted()]))
}

/** Titles of `.each(…)` whose argument is more than a name: `titlesOf` looks for text right behind the call. */
function titlesAfterTables(code: string): string[] {
  const tables = code.matchAll(/\b(?:test|it|describe|check)(?:\.\w+(?:\([^()]*\))?)*?\.each(?:<[^(]*>)?\(/g)
  return [...tables].flatMap(({ index, 0: call }) => {
    const rest = code.slice(endOfCall(code, index + call.length))
    const title = /^\(\s*(?:'((?:[^'\\]|\\.)*)'|`((?:[^`\\]|\\.)*)`)/.exec(rest)
    return title === null ? [] : [title[1] ?? title[2] ?? '']
  })
}

/** Behind the bracket that closes the one before `start`; text and comments may hold others. */
function endOfCall(code: string, start: number): number {
  const tokens =
    /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[^])*`|\/\/.*|\/(?:[^/\\\n ]|\\.)[^/\n]*\/|[()]/g
  tokens.lastIndex = start
  for (let depth = 1, token = tokens.exec(code); token !== null; token = tokens.exec(code)) {
    if (token[0] === '(') depth++
    if (token[0] === ')' && --depth === 0) return tokens.lastIndex
  }
  throw new Error(`a call that does not end: ${code.slice(start, start + 80)}`)
}
