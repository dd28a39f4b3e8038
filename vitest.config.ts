import { defineConfig } from 'vitest/config'

/** Where `.ci/run` wants the counts. */
const results = process.env['TAILRACE_TEST_RESULTS']

export default defineConfig({
  test: {
    reporters: results === undefined ? ['default'] : ['default', ['json', { outputFile: results }]],
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Real processes, sockets and heap limits: tests run in processes, and not in threads of one.
    pool: 'forks',
    // a process for each file would spend a tenth of the time on loading the same modules
    isolate: false,
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
  },
})
