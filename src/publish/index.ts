/** `tailrace/redis`: publishers of regions, and what reads them. */
export { contentHash, serialise } from './envelope.ts'
export { memoryRegions, type MemoryRegions, type MemoryRegionsOptions } from './memory.ts'
export type {
  Delivery,
  DeliveryStatus,
  Outgoing,
  PlannedKey,
  PublisherSettings,
  RegionChange,
  RegionPublisher,
  RegionSnapshot,
  Stamp,
} from './port.ts'
export type { PublisherOptions } from './publisher-options.ts'
export {
  publishRegions,
  type Published,
  type PublishRegionsOptions,
  type PublishSummary,
  type RegionPublication,
  type RegionResult,
} from './publish-regions.ts'
export { readRegion, readRegions, regionHistory, watchRegions, type RegionReader } from './reading.ts'
export { redisRegions, type RedisRegionsOptions } from './redis.ts'
export type { RedisAddress } from './redis-target.ts'
