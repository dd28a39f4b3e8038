/**
 * One-dimensional arrays of any listed type, with null elements. They travel as array literals, because `unnest` would
 * flatten an array of arrays.
 */
import { messageOf } from '../../errors.ts'
import { ValueError, type ColumnCodec } from './codec.ts'
import { show, wrongType } from './show.ts'
import { textWire } from './wire.ts'

/** @param cast the array type's name in SQL, e.g. `numeric(10,2)[]`. */
export function arrayCodec(element: ColumnCodec, cast: string): ColumnCodec {
  const print = (value: unknown): string => {
    const items = (value as readonly unknown[]).map((item) =>
      item === null ? 'NULL' : quote(element.print(item)),
    )
    return `{${items.join(',')}}`
  }
  const copyElement = element.copy
  return {
    pgType: `${element.pgType}[]`,
    wire: textWire(cast, print),
    canonical(value) {
      if (!Array.isArray(value)) throw new ValueError(wrongType('an array', value))
      const items: unknown[] = []
      for (let index = 0; index < value.length; index++) {
        const item: unknown = value[index]
        items.push(item === null ? null : canonicalItem(element, item, index))
      }
      return Object.freeze(items)
    },
    decode: (text) => Object.freeze(parseLiteral(text, element.decode)),
    print,
    compare: undefined,
    keyable: false,
    identity: print,
    byteSize(value) {
      let bytes = 32
      for (const item of value as readonly unknown[]) bytes += item === null ? 8 : 8 + element.byteSize(item)
      return bytes
    },
    copy:
      copyElement === undefined
        ? undefined
        : (value) =>
            Object.freeze(
              (value as readonly unknown[]).map((item) => (item === null ? null : copyElement(item))),
            ),
  }
}

function canonicalItem(element: ColumnCodec, item: unknown, index: number): unknown {
  try {
    if (item === undefined) throw new ValueError('undefined is no value; use null')
    return element.canonical(item)
  } catch (error) {
    throw new ValueError(`element ${index}: ${messageOf(error)}`)
  }
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

function parseLiteral(text: string, decode: (text: string) => unknown): unknown[] {
  // `[2:3]={…}`: other lower bounds than 1 are not kept, a JavaScript array has none.
  let at = text.startsWith('[') ? text.indexOf('{') + 1 : 1
  const items: unknown[] = []
  if (text[at] === '}') return items
  for (;;) {
    if (text[at] === '{')
      throw new ValueError(`the database holds an array of several dimensions: ${show(text)}`)
    if (text[at] === '"') {
      let end = at + 1
      while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1
      items.push(decode(text.slice(at + 1, end).replace(/\\(.)/gs, '$1')))
      at = end + 1
    } else {
      let end = at
      while (text[end] !== ',' && text[end] !== '}') end++
      const item = text.slice(at, end)
      items.push(item === 'NULL' ? null : decode(item))
      at = end
    }
    if (text[at] !== ',') return items
    at++
  }
}
