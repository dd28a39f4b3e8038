/** First in, first out, in constant time however long it is: `Array.shift` moves everything that is left. */
export class Queue<T> {
  #items: (T | undefined)[] = []
  #front = 0

  get length(): number {
    return this.#items.length - this.#front
  }

  get first(): T | undefined {
    return this.#items[this.#front]
  }

  get last(): T | undefined {
    return this.length === 0 ? undefined : this.#items[this.#items.length - 1]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined
    const item = this.#items[this.#front]
    this.#items[this.#front++] = undefined
    if (this.#front * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#front)
      this.#front = 0
    }
    return item
  }

  /** Drops from the end for as long as `isDropped` says so. */
  dropLast(isDropped: (item: T) => boolean): void {
    while (this.length > 0 && isDropped(this.#items[this.#items.length - 1] as T)) this.#items.pop()
  }

  clear(): void {
    this.#items = []
    this.#front = 0
  }
}
