/** Pauses between attempts: full jitter. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */

const firstPauseMs = 50

/** @param failed attempts so far  @param random between 0 and 1  @param firstMs the longest pause after the first */
export function jitteredMs(
  failed: number,
  longestMs: number,
  random: () => number = Math.random,
  firstMs = firstPauseMs,
): number {
  return random() * Math.min(longestMs, firstMs * 2 ** (failed - 1))
}
