/** The drawn charts and the total tables are those of the machines as they are. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { absolute, generatedPages } from '../../docs/machines/generate.ts'

const pages = [...generatedPages()].map(([path, text]) => ({ path, text }))

test.each(pages)('$path is fresh (npx tsx docs/machines/generate.ts)', ({ path, text }) => {
  expect(readFileSync(absolute(path), 'utf8')).toBe(text)
})

test('the specification has a line for every invariant', () => {
  const spec = readFileSync(absolute('docs/spec.md'), 'utf8')
  const ids = Array.from({ length: 17 }, (_each, index) => `I${index + 1}`)
  expect(ids.filter((id) => !spec.includes(`\n| ${id} |`))).toEqual([])
})
