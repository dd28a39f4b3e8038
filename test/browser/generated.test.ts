/** What is generated for the page is that of the machines and the sources as they are (`npm run docs`). */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { absolute } from '../../docs/machines/generate.ts'
import { chartsFile, layOut, readSpec } from '../../docs/machines/layout.ts'
import { inspectorPage, pageFile } from '../../docs/machines/page.ts'
import type { Chart, Charts } from '../../src/inspect/page/charts.ts'

/** Without coordinates: another machine may round them otherwise. */
function structure({ charts, invariants }: Charts): unknown {
  const withoutPlaces = ({ id, states, marks, links, transitions }: Chart) => ({
    id,
    states: states.map(({ x: _x, y: _y, width: _width, height: _height, ...rest }) => rest),
    marks: marks.map(({ kind, parent }) => ({ kind, parent })),
    links: links.map(({ lines, isBarrier }) => ({ lines, isBarrier })),
    transitions,
  })
  return { charts: charts.map(withoutPlaces), invariants }
}

test('the charts on the inspector are those of the machines (npm run docs)', async () => {
  const kept = JSON.parse(readFileSync(absolute(chartsFile), 'utf8')) as Charts
  expect(structure(kept)).toEqual(structure(await layOut(readSpec())))
})

test('every state has its description, and every invariant that is named exists', () => {
  const { charts, invariants } = JSON.parse(readFileSync(absolute(chartsFile), 'utf8')) as Charts
  for (const { id, states } of charts) {
    // lanes are regions of a parallel state: their names say what they are
    const silent = states.filter(
      ({ description, parent }) => description === '' && parent !== 'indexer.active',
    )
    expect(silent.map((state) => `${id}: ${state.id}`)).toEqual([])
    expect(
      states.flatMap((state) => state.invariants).filter((each) => invariants[each] === undefined),
    ).toEqual([])
  }
})

test('the page is that of its sources, and names nothing outside of itself (npm run docs)', async () => {
  const page = readFileSync(absolute(pageFile), 'utf8')
  expect(page === (await inspectorPage())).toBe(true)
  expect(page.match(/<script/g)).toHaveLength(1)
  expect(page).not.toMatch(/\s(src|style|on\w+)=["']/)
  const addresses = page.match(/https?:\/\/[^\s"'`)]+/g) ?? []
  expect(addresses.filter((address) => address !== 'http://www.w3.org/2000/svg')).toEqual([])
})
