/** The deliberate faults have to be where they are said to be; whether they are noticed takes `npm run mutants`. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mutants } from '../mutants/mutants.ts'

test.each(mutants.map(({ id, file, find, replace }) => ({ id, file, find, replace })))(
  '$id can be applied to $file',
  ({ file, find, replace }) => {
    const code = readFileSync(join(import.meta.dirname, '../..', file), 'utf8')
    expect(code.split(find)).toHaveLength(2)
    expect(replace).not.toBe(find)
  },
)
