/**
 * The script that delivers a snapshot: all of a region's keys in one step that nothing comes between. Redis isolates a
 * script but does not undo it, so everything is checked before the first write (H52), and the first write is one that a
 * server out of memory refuses.
 *
 * Order is by stamps alone, compared as numbers from the left; the server's clock says when, never what wins (H57).
 */
import { createHash } from 'node:crypto'
import { FatalError } from '../errors.ts'
import type { Packed } from './envelope.ts'
import type { RegionKeys } from './keys.ts'
import type { Delivery, DeliveryStatus, Outgoing, Stamp } from './port.ts'

export interface Script {
  readonly lua: string
  readonly sha: string
  readonly numberOfKeys: number
}

function script(numberOfKeys: number, lua: string): Script {
  const text = lua
    .split('\n')
    .map((line) => line.trim().replace(/(^|\s)--.*$/, ''))
    .filter((line) => line !== '')
    .join('\n')
  return { lua: text, sha: createHash('sha1').update(text).digest('hex'), numberOfKeys }
}

/** A former snapshot in one text: what is known of it, a line each, and its body. Read by `parseEntry`. */
const entryLua = `
local function entry(at)
  local h = redis.call('HMGET', at, 'stamp', 'hash', 'encoding', 'schema', 'persistedAt', 'confirmedAt', 'body')
  return table.concat(h, '\\n')
end`

/** What a region is kept by. */
export interface Keeping {
  /** Former snapshots, beside `latest`. */
  readonly count: number
  readonly ageMs: number
  readonly ttlMs: number
  readonly streamLength: number
}

export const persistScript = script(
  4,
  `
local latest, index, bodies, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local writer, id, stampText, hash = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local encoding, schema, body, tombstone = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local count, ageMs, ttlMs, length = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local touch = ARGV[13] == '1'

-- everything that may be wrong, before anything is written
local kinds = { 'hash', 'zset', 'hash', 'stream' }
for at = 1, 4 do
  local kind = redis.call('TYPE', KEYS[at])['ok']
  if kind ~= 'none' and kind ~= kinds[at] then
    return redis.error_reply('TAILRACE_TYPE ' .. at .. ' ' .. kind)
  end
end
local function parse(text)
  if not text or not string.find(text, '^%d+ %d+ %d+ %d+$') then return nil end
  local numbers = {}
  for digits in string.gmatch(text, '%d+') do
    local number = tonumber(digits)
    if number > 9007199254740991 then return nil end
    numbers[#numbers + 1] = number
  end
  return numbers
end
local stamp = parse(stampText)
if not stamp or not count or not ageMs or not ttlMs or ttlMs < 1 or not length or length < 1 or id == ''
    or (tombstone ~= '0' and tombstone ~= '1') or (tombstone == '1') ~= (hash == '') then
  return redis.error_reply('TAILRACE_ARGUMENTS')
end
local there = redis.call('HMGET', latest, 'id', 'stamp', 'hash', 'writer', 'tombstone', 'bytes')
local wasEmpty = redis.call('EXISTS', latest) == 0
local before = parse(there[2])
if not wasEmpty then
  if not there[1] or not before or not there[3] or not there[4] or not there[6] then
    return redis.error_reply('TAILRACE_TYPE 1 hash that tailrace has not written')
  end
  if there[4] ~= writer then return redis.error_reply('TAILRACE_FOREIGN ' .. there[4]) end
end

-- a user who may run some of what follows and not all of it would leave it half done; Redis 7 can be asked
if redis.acl_check_cmd then
  local needed = {
    { 'HSET', latest, 'id', '' }, { 'PEXPIRE', latest, 1 }, { 'HSET', bodies, 'id', '' }, { 'HDEL', bodies, 'id' },
    { 'ZADD', index, 0, 'id' }, { 'ZREM', index, 'id' }, { 'ZCARD', index }, { 'ZSCORE', index, 'id' },
    { 'ZREVRANGE', index, 0, 0 }, { 'ZRANGE', index, 0, 0 }, { 'ZRANGEBYSCORE', index, 0, 0 },
    { 'DEL', index }, { 'XADD', events, '*', 'id', '' }, { 'PTTL', latest }, { 'TIME' },
  }
  for _, command in ipairs(needed) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM this user has no permissions to run the ' .. command[1] .. ' command on it')
    end
  end
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function text(number) return string.format('%.0f', number) end
local function keep() for at = 1, 4 do redis.call('PEXPIRE', KEYS[at], ttlMs) end end
-- WAIT counts from this connection's last write: what is there already has to be waited for as well
local function said(status)
  if touch then
    local left = redis.call('PTTL', latest)
    if left > 0 then redis.call('PEXPIRE', latest, left) end
  end
  return { status, 0, tonumber(there[6]) }
end
local function advance(status)
  redis.call('HSET', latest, 'stamp', stampText, 'confirmedAt', text(now))
  keep()
  return { status, 0, tonumber(there[6]) }
end

if not wasEmpty then
  local order = 0
  for at = 1, 4 do
    if order == 0 and stamp[at] ~= before[at] then order = stamp[at] > before[at] and 1 or -1 end
  end
  if there[1] == id then
    if order > 0 then return advance('replayed') end
    return said('replayed')
  end
  if order <= 0 then
    if redis.call('ZSCORE', index, id) then return said('replayed') end
    if there[3] == hash then return said('duplicate') end
    return { 'stale', 0, 0 }
  end
  if there[3] == hash then return advance('duplicate') end
end

-- from here on it becomes latest
${entryLua}
local isMoved = not wasEmpty and count > 0 and there[5] == '0'
local former = isMoved and entry(latest)
redis.call('HSET', latest, 'id', id, 'stamp', stampText, 'hash', hash, 'encoding', encoding, 'schema', schema,
  'writer', writer, 'tombstone', tombstone, 'bytes', #body, 'persistedAt', text(now), 'confirmedAt', text(now), 'body', body)
if isMoved then redis.call('HSET', bodies, there[1], former) end
if count > 0 then
  redis.call('HDEL', bodies, id)
  local top = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  local score = now
  if top[2] and tonumber(top[2]) >= score then score = tonumber(top[2]) + 1 end
  redis.call('ZADD', index, text(score), id)
  local function forget(ids)
    for _, old in ipairs(ids) do
      if old ~= id then
        redis.call('ZREM', index, old)
        redis.call('HDEL', bodies, old)
      end
    end
  end
  forget(redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. text(now - ageMs * 1000)))
  local surplus = redis.call('ZCARD', index) - count - 1
  if surplus > 0 then forget(redis.call('ZRANGE', index, 0, surplus - 1)) end
else
  redis.call('DEL', index, bodies)
end
redis.call('XADD', events, 'MAXLEN', '~', length, '*', 'id', id, 'stamp', stampText, 'tombstone', tombstone)
keep()
return { 'persisted', wasEmpty and 1 or 0, #body }
`,
)

/** `latest` and what is kept of former ones, newest first: id and entry by turns. A body is a field, never a key. */
export const historyScript = script(
  3,
  `
${entryLua}
local newest = redis.call('HMGET', KEYS[1], 'id', 'tombstone')
local found = {}
local limit = tonumber(ARGV[1])
local function take(id, text)
  found[#found + 1] = id
  found[#found + 1] = text
end
if newest[1] and newest[2] == '0' and limit > 0 then take(newest[1], entry(KEYS[1])) end
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[2], 0, -1)) do
  if #found >= 2 * limit then break end
  if id ~= newest[1] then
    local text = redis.call('HGET', KEYS[3], id)
    if text then take(id, text) end
  end
end
return found
`,
)

export function stampText({ incarnation, epoch, commit, ordinal }: Stamp): string {
  return `${incarnation} ${epoch} ${commit} ${ordinal}`
}

export function parseStamp(text: string): Stamp {
  const [incarnation = 0, epoch = 0, commit = 0, ordinal = 0] = text.split(' ').map(Number)
  return { incarnation, epoch, commit, ordinal }
}

/** Keys and arguments of `persistScript`, in its order. */
export function persistArguments(
  keys: RegionKeys,
  snapshot: Outgoing,
  packed: Packed,
  settings: { readonly keep: Keeping; readonly schema: string; readonly isWaitedFor: boolean },
): { readonly keys: readonly string[]; readonly args: readonly (string | number | Buffer)[] } {
  const { keep, schema, isWaitedFor } = settings
  return {
    keys: [keys.latest, keys.index, keys.bodies, keys.events],
    args: [
      snapshot.writer,
      snapshot.id,
      stampText(snapshot.stamp),
      snapshot.hash,
      packed.encoding,
      schema,
      packed.bytes,
      snapshot.body === null ? '1' : '0',
      keep.count,
      keep.ageMs,
      keep.ttlMs,
      keep.streamLength,
      isWaitedFor ? '1' : '0',
    ],
  }
}

const statuses = new Set<string>(['persisted', 'duplicate', 'replayed', 'stale'] satisfies DeliveryStatus[])

/** What `persistScript` answered. */
export function parseDelivery(reply: unknown): Delivery {
  const [status, wasEmpty, bytes] = (Array.isArray(reply) ? reply : []) as unknown[]
  const said = String(status)
  if (!statuses.has(said)) {
    throw new FatalError(
      'REDIS_REFUSED',
      `Redis answered '${said}' to the script of a region, which is none of its answers. Is there a proxy between that changes answers?`,
      { phase: 'publish' },
    )
  }
  return { status: said as DeliveryStatus, wasEmpty: Number(wasEmpty) === 1, bytes: Number(bytes) }
}

/** A snapshot as it is stored. */
export interface Entry {
  readonly stamp: Stamp
  readonly hash: string
  readonly encoding: string
  readonly schema: string
  /** Microseconds since 1970, by the server's clock. */
  readonly persistedAt: number
  readonly confirmedAt: number
  readonly body: Buffer
}

/** Reads what the scripts' `entry` wrote: six lines, then the body. */
export function parseEntry(text: Buffer): Entry {
  const lines: string[] = []
  let from = 0
  while (lines.length < 6) {
    const end = text.indexOf(10, from)
    lines.push(text.toString('utf8', from, end === -1 ? text.length : end))
    from = end === -1 ? text.length : end + 1
  }
  return entryOf(lines, text.subarray(from))
}

/** The fields of `latest` that make an entry, in `entryOf`'s order. */
export const entryFields = ['stamp', 'hash', 'encoding', 'schema', 'persistedAt', 'confirmedAt'] as const

export function entryOf(fields: readonly string[], body: Buffer): Entry {
  const [stamp = '', hash = '', encoding = '', schema = '', persistedAt = '', confirmedAt = ''] = fields
  return {
    stamp: parseStamp(stamp),
    hash,
    encoding,
    schema,
    persistedAt: Number(persistedAt),
    confirmedAt: Number(confirmedAt),
    body,
  }
}
