/**
 * A host process that holds an embedded server, for tests that need a second one: prints its handle as a line
 * of JSON, stops when its input ends, prints how that went. With `forget` it ends without stopping.
 */
import { startEmbeddedServer } from '../../src/commit/embedded-server.ts'

const [dataDir, forget] = process.argv.slice(2)
const server = await startEmbeddedServer({ dataDir })
console.log(JSON.stringify({ pid: server.pid, port: server.port, adopted: server.adopted }))
if (forget === undefined) {
  process.stdin.resume()
  process.stdin.on('end', () => void server.stop().then((result) => console.log(JSON.stringify(result))))
}
