/** A Date that cannot be changed: rows are handed out frozen, and `Object.freeze` does not reach inside a Date (I17). */

class FrozenDate extends Date {}

const setters = Object.getOwnPropertyNames(Date.prototype).filter((name) => name.startsWith('set'))

for (const name of setters) {
  Object.defineProperty(FrozenDate.prototype, name, {
    value() {
      throw new TypeError(
        `${name}: this Date belongs to a staged row and cannot be changed; copy it first: new Date(date)`,
      )
    },
  })
}
// In every other respect a Date: printed as one, and strictly equal to one where tests compare constructors.
Object.defineProperty(FrozenDate.prototype, 'constructor', { value: Date })

/** @param moment milliseconds since 1970; a Date that is frozen already is returned as it is */
export function frozenDate(moment: number | Date): Date {
  return moment instanceof FrozenDate ? moment : Object.freeze(new FrozenDate(moment))
}

export function isFrozenDate(value: unknown): boolean {
  return value instanceof FrozenDate
}
