/** What a publish would write, said instead of done. */
import { asTailraceError, messageOf } from '../errors.ts'
import { contentHash, serialise } from './envelope.ts'
import type { PlannedKey, RegionPublisher } from './port.ts'
import type { RegionPublication, RegionResult } from './publish-regions.ts'

export type Print = (line: string) => void

/** Prints one line a region, and one a key. */
export function plannedRegions(
  publisher: RegionPublisher,
  snapshots: readonly RegionPublication[],
  print: Print,
): Record<string, RegionResult> {
  print(`dry run: nothing is written to ${publisher.address}`)
  return Object.fromEntries(
    snapshots.map((snapshot): [string, RegionResult] => {
      const { region } = snapshot
      try {
        const keys = plan(publisher, snapshot)
        // the first is the one that holds the body
        const bytes = keys[0]?.bytes ?? 0
        print(`${region}  ${bytes} B`)
        for (const { key, type, ttlMs, bytes: of } of keys) {
          print(`  ${key}  ${type}  ${of} B  expires after ${lifetime(ttlMs)}`)
        }
        return [region, { status: 'planned', ms: 0, bytes, attempts: 0, keys }]
      } catch (thrown) {
        const error = asTailraceError(thrown, 'INTERNAL', messageOf(thrown))
        print(`${region}  would fail: ${error.message}`)
        return [region, { status: 'failed', ms: 0, bytes: 0, attempts: 0, error }]
      }
    }),
  )
}

function plan(publisher: RegionPublisher, { region, id, body }: RegionPublication): readonly PlannedKey[] {
  const text = serialise(body)
  const stamp = { incarnation: 0, epoch: 0, commit: 0, ordinal: 0 }
  const hash = contentHash(text, publisher.settings.contentOf)
  return publisher.plan({ region, id, stamp, body: text, hash, writer: '' })
}

const units = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
] as const

function lifetime(ms: number): string {
  const unit = units.find(([of]) => ms >= of && ms % of === 0)
  return unit === undefined ? `${ms} ms` : `${ms / unit[0]} ${unit[1]}`
}
