/**
 * The deliberate faults have to be where they are said to be, some for every invariant, and docs/mutants.md has to be of
 * these and no others; whether they are noticed takes `npm run mutants`.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { happyPath, needsServers, testsOf } from '../mutants/mutant.ts'
import { mutants } from '../mutants/mutants.ts'
import { killedByTest, readPage } from '../mutants/page.ts'
import { idsIn, titles, toldIds } from './ids.ts'

test.each(mutants.map(({ id, file, find, replace }) => ({ id, file, find, replace })))(
  '$id can be applied to $file',
  ({ file, find, replace }) => {
    const code = readFileSync(join(import.meta.dirname, '../..', file), 'utf8')
    expect(code.split(find)).toHaveLength(2)
    expect(replace).not.toBe(find)
  },
)

test('each has a name of its own', () => {
  const ids = mutants.map(({ id }) => id)
  expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([])
})

test('each invariant has two, one of them in code that users run', () => {
  const few = toldIds('I').flatMap((id) => {
    const own = mutants.filter(({ invariant }) => invariant === id)
    const real = own.filter(({ file }) => !file.startsWith('src/testing/'))
    return own.length >= 2 && real.length >= 1 ? [] : [`${id}: ${own.length}, real ${real.length}`]
  })
  expect(few).toEqual([])
})

test('each is to die in tests that exist, one of them titled with its invariant', () => {
  const all = titles()
  const lost = mutants.flatMap((mutant) => {
    const own = testsOf(mutant).map((file) => all.filter((title) => title.file === file))
    const named = own.flat().some(({ title }) => idsIn(title).includes(mutant.invariant))
    return own.every((found) => found.length > 0) && named ? [] : [mutant.id]
  })
  expect(lost).toEqual([])
  expect(mutants.filter((mutant) => testsOf(mutant).includes(happyPath))).toEqual([])
})

test('few of them need a server to be noticed: a simulator has none', () => {
  const needy = mutants.filter((mutant) => testsOf(mutant).every(needsServers))
  expect(needy.length / mutants.length).toBeLessThan(0.15)
})

test('docs/mutants.md lists each of them, and tells the test in which it dies (npm run mutants -- --write)', () => {
  const known = readPage()
  expect([...known.keys()]).toEqual(mutants.map(({ id }) => id))
  expect([...known].filter(([, row]) => !killedByTest(row)).map(([id]) => id)).toEqual([])
})
