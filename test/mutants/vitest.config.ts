import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

/** The tests that mutants are tried on need no server. */
export default defineConfig({
  test: {
    root: join(import.meta.dirname, '../..'),
    include: ['test/interleaving/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
  },
})
