/** A case by a plan of ours instead of a seed's: the run dies at every call of a port that it makes, one after the other. */
import { expect, test } from 'vitest'
import { statesOf, type TestProgram } from '../../src/testing/expected.ts'
import { undisturbed, type Plan } from '../../src/testing/plan.ts'
import { Cases } from '../../src/testing/tested-case.ts'
import { blocksOf, handleBlock, handlers, tables } from './ledger-program.ts'

test('I8, I10: a run that dies at any call of a port has a successor that ends well', async () => {
  const program = { tables, handlers, handleBlock } as unknown as TestProgram
  const blocks = blocksOf(2)
  const cases = new Cases(program, blocks, await statesOf(program, blocks))
  const [plain] = undisturbed.runs
  const inFlight = new Set<unknown>()
  for (let after = 0; ; after++) {
    const crash = { what: 'crash', after, lands: after % 2 === 0 } as const
    const plan: Plan = { ...undisturbed, runs: [{ ...plain!, disturbances: [crash] }, plain!] }
    const { verdict, history } = await cases.run(plan)
    expect(verdict, `after ${after} calls`).toEqual({ is: 'passed' })
    const died = history.find(({ type }) => type === 'crash')
    if (died?.type !== 'crash') break
    inFlight.add(died.inFlight)
  }
  expect(inFlight).toEqual(new Set([undefined, 'landed before', 'landed after', 'never landed']))
})
