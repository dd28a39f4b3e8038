/** Where the rows of a table are not those they must be. */
import { isDeepStrictEqual } from 'node:util'
import { comparator, parseOrder } from '../staging/order.ts'
import { describeKey, handedOut, keyOf } from '../staging/table-row.ts'
import type { Row, TableModel } from '../staging/table.ts'

export interface Difference {
  readonly table: string
  readonly key: unknown
  /** `id = "ada"` */
  readonly row: string
  /** Undefined: there is no such row. */
  readonly is: Row | undefined
  readonly mustBe: Row | undefined
  /** More rows of this table that differ. */
  readonly others: number
}

/** Compares one table again and again; rows that were equal once are not looked at again. */
export class TableComparison {
  readonly #model: TableModel
  readonly #order: (a: Row, b: Row) => number
  readonly #equal = new WeakMap<Row, Row>()

  constructor(model: TableModel) {
    this.#model = model
    this.#order = comparator(parseOrder(model, undefined))
  }

  /** Both in key order. @returns the first difference */
  compare(are: readonly Row[], mustBe: readonly Row[]): Difference | undefined {
    const differing: (readonly [is: Row | undefined, mustBe: Row | undefined])[] = []
    let at = 0
    let mustAt = 0
    while (at < are.length || mustAt < mustBe.length) {
      const [is, must] = [are[at], mustBe[mustAt]]
      const order = is === undefined ? 1 : must === undefined ? -1 : this.#order(is, must)
      if (order <= 0) at++
      if (order >= 0) mustAt++
      if (order < 0) differing.push([is, undefined])
      else if (order > 0) differing.push([undefined, must])
      else if (!this.#isEqual(is!, must!)) differing.push([is, must])
    }
    const [first] = differing
    return first && this.#difference(first[0], first[1], differing.length - 1)
  }

  #isEqual(is: Row, mustBe: Row): boolean {
    if (this.#equal.get(is) === mustBe) return true
    // as handlers would get them: what cannot be frozen is a copy in both
    const isEqual = isDeepStrictEqual(handedOut(this.#model, is), handedOut(this.#model, mustBe))
    if (isEqual) this.#equal.set(is, mustBe)
    return isEqual
  }

  #difference(is: Row | undefined, mustBe: Row | undefined, others: number): Difference {
    const key = keyOf(this.#model, (is ?? mustBe)!)
    return { table: this.#model.name, key, row: describeKey(this.#model, key), is, mustBe, others }
  }
}
