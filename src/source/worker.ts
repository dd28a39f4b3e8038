/**
 * The source lane's worker. Commands: `open` starts every pump; `close` and `cut` end them, answered once per `open`
 * by `source.closed` — after the iterators are returned, or for `cut` at once.
 */
import { fromCallback } from 'xstate'
import type { SourceCommand, SourceEvent } from '../../machines/events.ts'
import type { RunSystem } from '../run-system.ts'
import type { Feed } from './feed.ts'

export function sources(
  feedOf: (run: RunSystem) => Feed,
  listen: (say: (event: SourceEvent) => void, run: RunSystem) => void,
) {
  return fromCallback<SourceCommand>(({ sendBack, receive, system }) => {
    const feed = () => feedOf(system)
    listen(sendBack, system)
    let closing = false

    const close = async () => {
      if (closing) return
      closing = true
      await feed().close()
      if (closing) sendBack({ type: 'source.closed' })
      closing = false
    }

    receive((command) => {
      switch (command.type) {
        case 'open':
          return feed().open()
        case 'close':
          if (feed().isOpen) void close()
          return
        case 'cut':
          // an iterator that does not return is left to itself; what it still gives is not heard
          if (feed().isOpen) void feed().close()
          else if (!closing) return
          closing = false
          return sendBack({ type: 'source.closed' })
        default:
          throw new Error(`unreachable: ${String(command satisfies never)}`)
      }
    })
    return () => void feed().close()
  })
}
