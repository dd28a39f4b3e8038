/**
 * The specification and the tests, both ways: each invariant and each hazard has a test that names it, or stands in the
 * list of those that cannot have one yet, and what titles, mutants and documents name exists.
 */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { codeOf, filesOf } from '../support/house.ts'
import { mutants } from '../mutants/mutants.ts'
import { filesById, idsIn, rowsOf, sectionOf, titles, toldIds, withoutTestYet, type Letter } from './ids.ts'

const told = new Map<Letter, readonly string[]>(
  (['I', 'H', 'A', 'B'] as const).map((letter) => [letter, toldIds(letter)]),
)
const known = new Set([...told.values()].flat())
const tested = filesById()
const excused = withoutTestYet()

test.each([
  { page: 'docs/spec.md', letter: 'I', count: 17 },
  { page: 'docs/hazards.md', letter: 'H', count: 77 },
] as const)('$page tells all $count of its $letter, each once', ({ letter, count }) => {
  const expected = Array.from({ length: count }, (_, index) => `${letter}${index + 1}`)
  expect(told.get(letter)!.toSorted(byNumber)).toEqual(expected)
})

test('every invariant and every hazard has a test that names it, or a reason why it has none yet', () => {
  const ids = [...told.get('I')!, ...told.get('H')!]
  expect(ids.filter((id) => !tested.has(id) && !excused.has(id))).toEqual([])
})

test('nothing is excused that has a test, that nobody knows, or without a reason', () => {
  expect([...excused.keys()].filter((id) => tested.has(id))).toEqual([])
  expect([...excused.keys()].filter((id) => !known.has(id))).toEqual([])
  expect([...excused].filter(([, reason]) => reason.length < 20)).toEqual([])
})

test('every id in the title of a test exists', () => {
  const unknown = titles().flatMap(({ file, title }) =>
    idsIn(title)
      .filter((id) => !known.has(id))
      .map((id) => `${file}: ${id} in '${title}'`),
  )
  expect(unknown).toEqual([])
})

test('every id that a mutant names exists', () => {
  const unknown = mutants.flatMap(({ id, invariant, breaks }) =>
    [invariant, ...idsIn(breaks)].filter((named) => !known.has(named)).map((named) => `${id}: ${named}`),
  )
  expect(unknown).toEqual([])
})

test('every id that code or a document names exists', () => {
  const files = [
    ...['src', 'machines', 'docs', 'test'].flatMap((folder) => filesOf(folder)),
    ...filesOf('docs', '.md'),
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
  ]
  // A and B stand for much else
  const unknown = files.flatMap((file) =>
    [...codeOf(file).matchAll(/\b(?:I(?:[1-9]|\d\d)|H\d\d?)\b/g)]
      .filter(([id]) => !known.has(id))
      .map(([id]) => `${file}: ${id}`),
  )
  expect(unknown).toEqual([])
})

test.each([
  { page: 'docs/spec.md', rows: rowsOf(sectionOf(readFileSync('docs/spec.md', 'utf8'), 'Invariants'), 'I') },
  { page: 'docs/hazards.md', rows: rowsOf(readFileSync('docs/hazards.md', 'utf8'), 'H') },
])('the tests that $page says hold an id name it in a title', ({ rows }) => {
  const untrue = [...rows].flatMap(([id, cells]) => {
    const paths = [...cells.matchAll(/`(test\/[\w./-]+)`/g)].map(([, path]) => path!)
    const holds = (path: string) =>
      (tested.get(id) ?? []).some((file) => file === path || (path.endsWith('/') && file.startsWith(path)))
    // what the tests stand on is no test
    return paths
      .filter((path) => !path.startsWith('test/support/') && !holds(path))
      .map((path) => `${id}: ${path}`)
  })
  expect(untrue).toEqual([])
})

test('ranges and lists of ids are understood', () => {
  expect(idsIn('I2 I4, H21–H23 H28–30: of A10 and B6')).toEqual([
    'I2',
    'I4',
    'H21',
    'H22',
    'H23',
    'H28',
    'H29',
    'H30',
    'A10',
    'B6',
  ])
  expect(idsIn('SHA256, I18N, HTTP2 and X1')).toEqual([])
})

function byNumber(a: string, b: string): number {
  return Number(a.slice(1)) - Number(b.slice(1))
}
