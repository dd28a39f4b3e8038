/** Which tests name an invariant or a hazard in their title: the table at the end of docs/spec.md. */
import { filesOf, titlesOf } from '../test/support/house.ts'

const invariants = Array.from({ length: 17 }, (_, index) => `I${index + 1}`)
const hazards = Array.from({ length: 77 }, (_, index) => `H${index + 1}`)

export function testsById(): string {
  const files = filesOf('test').filter((file) => file.endsWith('.test.ts'))
  const naming = new Map<string, string[]>()
  for (const file of files) {
    const ids = new Set(titlesOf(file).flatMap((title) => title.match(/\b[IH]\d+\b/g) ?? []))
    for (const id of ids) naming.set(id, [...(naming.get(id) ?? []), file])
  }
  const row = (id: string) => {
    const tests = naming.get(id)?.toSorted() ?? []
    return tests.length === 0
      ? []
      : [`| ${id} | ${tests.map((file) => `\`${file.slice(5, -8)}\``).join(', ')} |`]
  }
  const without = [...invariants, ...hazards].filter((id) => !naming.has(id))
  return [
    'Files under `test/` whose titles name the id ([the hazards](hazards.md)).',
    '',
    '| id | tests |',
    '| --- | --- |',
    ...[...invariants, ...hazards].flatMap(row),
    '',
    `No test names ${without.join(', ')} yet: they belong to work that is still to come.`,
    '',
  ].join('\n')
}
