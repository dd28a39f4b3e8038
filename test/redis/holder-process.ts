/** Starts a Redis, says where, and waits to be killed. */
import { findRedis, startRedis } from '../support/redis.ts'

const binary = await findRedis()
if (typeof binary === 'string') throw new Error(binary)
const { pid, folder } = await startRedis(binary)
process.send?.({ pid, folder })
process.on('disconnect', () => undefined)
