import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

/** For tests that need no server: without the global setup, which starts some. */
export default defineConfig({
  test: {
    root: join(import.meta.dirname, '../..'),
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
  },
})
