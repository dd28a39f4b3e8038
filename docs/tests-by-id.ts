/** Which tests name an invariant or a hazard in their title: the table at the end of docs/spec.md. */
import { filesById, toldIds } from '../test/hygiene/ids.ts'

export function testsById(): string {
  const naming = filesById()
  const byNumber = (a: string, b: string) => Number(a.slice(1)) - Number(b.slice(1))
  const ids = [...toldIds('I'), ...toldIds('H').toSorted(byNumber)]
  const row = (id: string) => {
    const tests = naming.get(id)
    if (tests === undefined) return []
    return [
      `| ${id} | ${tests.map((file) => `\`${file.slice('test/'.length, -'.test.ts'.length)}\``).join(', ')} |`,
    ]
  }
  return [
    'Files under `test/` whose titles name the id ([the hazards](hazards.md)).',
    '',
    '| id | tests |',
    '| --- | --- |',
    ...ids.flatMap(row),
    '',
  ].join('\n')
}
