/** Questions to a person at a terminal, on the stream that no pipe reads. Scripts answer by options. */
import { createInterface } from 'node:readline'

export interface Asking {
  readonly input: NodeJS.ReadableStream
  readonly output: NodeJS.WritableStream
}

/** Undefined: there is nobody to ask. */
export function askingTerminal(): Asking | undefined {
  const { stdin, stderr } = process
  return stdin.isTTY && stderr.isTTY ? { input: stdin, output: stderr } : undefined
}

/** @returns the line; undefined after Ctrl-C or Ctrl-D */
export function ask({ input, output }: Asking, question: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const lines = createInterface({ input, output, terminal: true })
    let answer: string | undefined
    lines.once('SIGINT', () => lines.close())
    lines.once('close', () => {
      if (answer === undefined) output.write('\n')
      resolve(answer)
    })
    lines.question(question, (line) => {
      answer = line.trim()
      lines.close()
    })
  })
}
