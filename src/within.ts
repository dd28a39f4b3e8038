/** Waiting that ends. */
import { timerMs } from '../machines/limits.ts'

/** Waits for the promise, but not longer than that. @returns whether it has settled; its rejection counts. */
export async function settlesWithin(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, timerMs(milliseconds), false)
  })
  const settled = promise.then(
    () => true,
    () => true,
  )
  try {
    return await Promise.race([settled, late])
  } finally {
    clearTimeout(timer)
  }
}
