/**
 * What a cluster's client does not do by itself: it forgets a node whose connection ended, and asks for the new masters
 * only when a command went wrong. Here they are asked for at once, and again until there is a connection to every one.
 */
import type { Cluster, Redis } from 'ioredis'
import { retryMs } from './deadline.ts'
import type { Client } from './redis-target.ts'

export interface Supervision {
  /** No timer is left. */
  stop(): void
}

/** @param reconnected told of each new connection to a master, and when another node has become master */
export function superviseCluster(client: Client, reconnected: () => void, random: () => number): Supervision {
  const cluster = client as Cluster
  let timer: NodeJS.Timeout | undefined
  let failures = 0
  let isStopped = false
  let masters = mastersOf(cluster)

  const refreshSoon = () => {
    if (isStopped || timer !== undefined) return
    timer = setTimeout(
      () => {
        timer = undefined
        cluster.refreshSlotsCache((error) => {
          if (error) refreshSoon()
        })
      },
      retryMs(failures++, random),
    )
  }
  const nodeLost = () => refreshSoon()
  const nodeFound = (node: Redis) => {
    if (isStopped || node.options.readOnly === true) return
    node.once('ready', () => {
      failures = 0
      if (!isStopped) reconnected()
    })
    // it would connect with the first command only: too late to notice that it came back empty
    if (node.status === 'wait') node.connect().catch(() => undefined)
  }
  const refreshed = () => {
    // the event comes before the nodes are replaced
    setImmediate(() => {
      const now = mastersOf(cluster)
      const isChanged = now !== masters && now !== ''
      if (isChanged) masters = now
      if (isChanged && !isStopped) reconnected()
    })
  }
  cluster.on('-node', nodeLost)
  cluster.on('+node', nodeFound)
  cluster.on('refresh', refreshed)
  return {
    stop() {
      isStopped = true
      clearTimeout(timer)
      cluster.off('-node', nodeLost)
      cluster.off('+node', nodeFound)
      cluster.off('refresh', refreshed)
    },
  }
}

function mastersOf(cluster: Cluster): string {
  return cluster
    .nodes('master')
    .map(({ options }) => `${options.host}:${options.port}`)
    .sort()
    .join(' ')
}
