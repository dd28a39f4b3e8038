/**
 * Lays out the charts for the inspector's page: states and arrows from the machines, coordinates from elk. It blocks for
 * some hundred milliseconds, so it is done here and its result is checked in.
 */
import elkModule, { type ElkExtendedEdge, type ElkNode } from 'elkjs/lib/elk.bundled.js'
import { readFileSync } from 'node:fs'
import type { AnyStateMachine, AnyTransitionDefinition } from 'xstate'
import { committerMachine } from '../../machines/committer.machine.ts'
import { indexerMachine } from '../../machines/indexer.machine.ts'
import { publisherMachine } from '../../machines/publisher.machine.ts'
import { regionMachine } from '../../machines/region.machine.ts'
import type { Box, Chart, Charts, ChartState, Link, Mark, Transition } from '../../src/inspect/page/charts.ts'
import { stateNodes } from '../../test/support/model.ts'
import { invariantsOfStates } from './invariants.ts'
import {
  eventOf,
  guardParts,
  guardText,
  nameOfAction,
  transitionsOf,
  visible,
  type StateNode,
} from './reading.ts'

export const chartsFile = 'src/inspect/page/charts.generated.json'

/** Width of one letter of the page's fonts: monospace, 0.6 of their size. */
const titleLetter = 17 * 0.6
const labelLetter = 12 * 0.6
const lineHeight = 16
const longestLine = 30

export async function layOut(spec: string): Promise<Charts> {
  const machines = [indexerMachine, committerMachine, publisherMachine, regionMachine] as const
  const charts: Chart[] = []
  for (const machine of machines) charts.push(await chartOf(machine))
  return { charts, invariants: invariantsOf(spec) }
}

/** One state, arrow or transition a line: what has changed can be read in a diff. */
export function chartsText({ charts, invariants }: Charts): string {
  const list = (values: readonly unknown[]) =>
    `[\n${values.map((value) => JSON.stringify(value)).join(',\n')}\n]`
  const texts = charts.map(({ states, marks, links, transitions, ...rest }) =>
    [
      JSON.stringify(rest).slice(0, -1),
      `"states": ${list(states)}`,
      `"marks": ${list(marks)}`,
      `"links": ${list(links)}`,
      `"transitions": ${list(transitions)}}`,
    ].join(',\n'),
  )
  return `{"charts": [\n${texts.join(',\n')}\n],\n"invariants": ${JSON.stringify(invariants, null, 1)}}\n`
}

export function readSpec(): string {
  return readFileSync(new URL('../spec.md', import.meta.url), 'utf8')
}

/** The specification's own words for them. */
function invariantsOf(spec: string): Record<string, string> {
  const rows = spec.matchAll(/^\| (I\d+) \| (.+?) \| /gm)
  return Object.fromEntries([...rows].map(([, id, text]) => [id!, text!.replaceAll(/[*`]/g, '')]))
}

async function chartOf(machine: AnyStateMachine): Promise<Chart> {
  const nodes = stateNodes(machine)
  const { links, transitions } = arrowsOf(machine, nodes)
  const graph: ElkNode = {
    id: machine.id,
    layoutOptions: optionsOf(machine.root),
    children: childrenOf(machine.root, links),
    edges: [...links.map(edgeOf), ...initialEdges([machine.root, ...nodes])],
  }
  const elk = new elkModule.default()
  const laid = await elk.layout(graph)
  const boxes = boxesOf(laid)
  const edges = new Map((laid.edges ?? []).map((edge) => [edge.id, edge]))
  const states = nodes.map((node) => stateOf(machine, node, boxes.get(node.id)!))
  return {
    id: machine.id,
    width: Math.ceil(laid.width!),
    height: Math.ceil(laid.height!),
    states,
    marks: marksOf(boxes, machine.id),
    links: [
      ...links.map((link) => drawn(edges.get(link.id)!, link.lines, link.isBarrier)),
      ...[...edges.values()]
        .filter(({ id }) => id.startsWith('initial:'))
        .map((edge) => drawn(edge, [], false)),
    ],
    transitions,
  }
}

function stateOf(machine: AnyStateMachine, node: StateNode, box: Box): ChartState {
  return {
    id: node.id,
    key: node.key,
    kind: node.type,
    parent: node.parent === undefined || node.parent === machine.root ? null : node.parent.id,
    description: node.description ?? '',
    isInitial:
      node.parent?.type === 'compound' &&
      (node.parent.initial.target as unknown as StateNode[]).includes(node),
    invokes: (node.invoke as { id: string }[]).map(({ id }) => id),
    entry: visible(node.entry).map(nameOfAction),
    invariants: invariantsOfStates[machine.id]?.[node.path.join('.')] ?? [],
    ...box,
  }
}

// ── arrows ──────────────────────────────────────────────────────────────────────────────────────────────────

interface Drawable {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly lines: string[]
  isBarrier: boolean
}

function arrowsOf(machine: AnyStateMachine, nodes: readonly StateNode[]) {
  const links = new Map<string, Drawable>()
  const transitions: Transition[] = []
  for (const definition of [machine.root, ...nodes].flatMap(transitionsOf)) {
    const { source } = definition
    const targets = (definition.target ?? []) as StateNode[]
    const parts = guardParts(machine, definition.guard)
    const isBarrier = parts.filter(({ state, negated }) => state !== null && !negated).length > 1
    let link: number | null = null
    let line = 0
    for (const target of targets) {
      // from a state to one inside it: from wherever it stands in there
      const from = target !== source && lineage(target).includes(source) ? `${source.id}:anywhere` : source.id
      const id = `${from}>${target.id}`
      const drawable = links.get(id) ?? { id, from, to: target.id, lines: [], isBarrier: false }
      links.set(id, drawable)
      link = [...links.keys()].indexOf(id)
      line = drawable.lines.length
      drawable.lines.push(...wordsOf(definition))
      drawable.isBarrier ||= isBarrier
    }
    transitions.push({
      source: source.id,
      targets: targets.map(({ id }) => id),
      event: definition.eventType,
      when: eventOf(definition),
      guard: guardText(definition.guard),
      parts,
      actions: definition.actions.map(nameOfAction),
      link,
      line,
    })
  }
  return { links: [...links.values()], transitions }
}

/** The event, and its guard where there is one; long ones go on in the next line. */
function wordsOf(definition: AnyTransitionDefinition): string[] {
  const guard = guardText(definition.guard).replaceAll(' and ', ' ∧ ')
  const event = definition.eventType === '' ? '' : eventOf(definition)
  const whole = guard === '' ? event : `${event} [${guard}]`.trim()
  if (whole.length <= longestLine) return [whole]
  const lines: string[] = event === '' ? [''] : [event, '']
  for (const word of `[${guard}]`.split(/(?<=∧) /)) {
    const last = lines.at(-1)!
    if (last !== '' && last.length + word.length > longestLine) lines.push(`  ${word}`)
    else lines[lines.length - 1] = last === '' ? `${event === '' ? '' : '  '}${word}` : `${last} ${word}`
  }
  return lines
}

function edgeOf({ id, from, to, lines }: Drawable): ElkExtendedEdge {
  const width = Math.max(...lines.map(({ length }) => length)) * labelLetter + 6
  const height = lines.length * lineHeight + 2
  return {
    id,
    sources: [from],
    targets: [to],
    labels: [{ id: `label:${id}`, text: lines.join('\n'), width, height }],
  }
}

function initialEdges(nodes: readonly StateNode[]): ElkExtendedEdge[] {
  return nodes
    .filter(({ type }) => type === 'compound')
    .map((node) => ({
      id: `initial:${node.id}`,
      sources: [`${node.id}:initial`],
      layoutOptions: { 'elk.layered.priority.direction': '10', 'elk.layered.priority.straightness': '5' },
      targets: [(node.initial.target as unknown as StateNode[])[0]!.id],
    }))
}

// ── boxes ───────────────────────────────────────────────────────────────────────────────────────────────────

function childrenOf(node: StateNode, links: readonly Drawable[]): ElkNode[] {
  const children = Object.values<StateNode>(node.states).map((child) => elkNode(child, links))
  const initial: ElkNode[] =
    node.type === 'compound'
      ? [{ id: `${node.id}:initial`, width: 10, height: 10, layoutOptions: at('FIRST') }]
      : []
  const anywhere: ElkNode[] = links.some(({ from }) => from === `${node.id}:anywhere`)
    ? [{ id: `${node.id}:anywhere`, width: 78, height: 22 }]
    : []
  const inner = [...initial, ...anywhere, ...children]
  return node.type === 'parallel' ? stacked(inner, links) : inner
}

/** Lanes that no arrow enters or leaves stand one above the other: side by side they would make the chart too wide. */
function stacked(lanes: readonly ElkNode[], links: readonly Drawable[]): ElkNode[] {
  const isAlone = ({ id, width, children }: ElkNode) =>
    (width !== undefined || (children ?? []).length <= 5) &&
    links.every(({ from, to }) => from.startsWith(id) === to.startsWith(id))
  const alone = lanes.filter(isAlone)
  return [
    ...lanes.filter((lane) => !isAlone(lane)),
    {
      id: 'stack',
      children: alone,
      layoutOptions: {
        'elk.algorithm': 'box',
        'elk.hierarchyHandling': 'SEPARATE_CHILDREN',
        'elk.padding': '[top=0,left=0,bottom=0,right=0]',
        'elk.aspectRatio': '0.1',
        'elk.spacing.nodeNode': '24',
        'elk.json.shapeCoords': 'ROOT',
        'elk.json.edgeCoords': 'ROOT',
      },
    },
  ]
}

function at(layer: 'FIRST' | 'LAST'): Record<string, string> {
  return { 'elk.layered.layering.layerConstraint': layer }
}

function elkNode(node: StateNode, links: readonly Drawable[]): ElkNode {
  const invokes = (node.invoke as { id: string }[]).map(({ id }) => id).join(', ')
  const title = node.key.length * titleLetter + (invokes === '' ? 0 : (invokes.length + 3) * labelLetter) + 28
  const children = childrenOf(node, links)
  if (Object.keys(node.states).length === 0)
    return {
      id: node.id,
      width: Math.max(72, title),
      height: 40,
      ...(node.type === 'final' ? { layoutOptions: at('LAST') } : {}),
    }
  return {
    id: node.id,
    children,
    layoutOptions: {
      ...optionsOf(node),
      'elk.nodeSize.constraints': 'MINIMUM_SIZE',
      'elk.nodeSize.minimum': `(${title},60)`,
    },
  }
}

function optionsOf(node: StateNode): Record<string, string> {
  return {
    'elk.algorithm': 'layered',
    'elk.direction': node.type === 'parallel' ? 'RIGHT' : 'DOWN',
    'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
    'elk.json.shapeCoords': 'ROOT',
    'elk.json.edgeCoords': 'ROOT',
    'elk.randomSeed': '1',
    'elk.edgeRouting': 'ORTHOGONAL',
    'elk.padding':
      node.parent === undefined ? '[top=8,left=8,bottom=8,right=8]' : '[top=40,left=14,bottom=14,right=14]',
    'elk.spacing.nodeNode': '24',
    'elk.spacing.edgeNode': '14',
    'elk.spacing.edgeEdge': '10',
    'elk.spacing.edgeLabel': '3',
    'elk.layered.spacing.nodeNodeBetweenLayers': '26',
    'elk.layered.spacing.edgeNodeBetweenLayers': '12',
    'elk.layered.spacing.edgeEdgeBetweenLayers': '10',
    'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
    'elk.layered.nodePlacement.favorStraightEdges': 'true',
    'elk.edgeLabels.inline': 'false',
  }
}

function boxesOf(node: ElkNode): Map<string, Box> {
  const boxes = new Map<string, Box>()
  for (const child of node.children ?? []) {
    if (child.id !== 'stack')
      boxes.set(child.id, round({ x: child.x!, y: child.y!, width: child.width!, height: child.height! }))
    for (const [id, box] of boxesOf(child)) boxes.set(id, box)
  }
  return boxes
}

function marksOf(boxes: ReadonlyMap<string, Box>, root: string): Mark[] {
  return [...boxes].flatMap(([id, box]) => {
    const [state, kind] = id.split(':')
    if (kind !== 'initial' && kind !== 'anywhere') return []
    return [{ kind, parent: state === root ? null : state!, ...box }]
  })
}

function drawn(edge: ElkExtendedEdge, lines: readonly string[], isBarrier: boolean): Link {
  const section = edge.sections?.[0]
  if (section === undefined) throw new Error(`elk has not drawn ${edge.id}`)
  const [label] = edge.labels ?? []
  return {
    points: [section.startPoint, ...(section.bendPoints ?? []), section.endPoint].map(
      ({ x, y }) => [Math.round(x), Math.round(y)] as const,
    ),
    label:
      label === undefined
        ? null
        : round({ x: label.x!, y: label.y!, width: label.width!, height: label.height! }),
    lines,
    isBarrier,
  }
}

function round({ x, y, width, height }: Box): Box {
  return { x: Math.round(x), y: Math.round(y), width: Math.round(width), height: Math.round(height) }
}

/** Root first. */
function lineage(node: StateNode): StateNode[] {
  return node.parent === undefined ? [node] : [...lineage(node.parent), node]
}
