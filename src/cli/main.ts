#!/usr/bin/env node
/** The `tailrace` command. */
import { run } from './program.ts'

// a reader that has seen enough, such as `head`
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

process.exitCode = await run(process.argv.slice(2))
