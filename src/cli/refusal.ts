/** What a command says instead of doing its work: one sentence, what to do included, and an exit code. */

export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly exitCode: 1 | 2

  /** @param exitCode 1: it failed, or was not done. 2: the command line or the environment cannot be used. */
  constructor(message: string, exitCode: 1 | 2 = 1, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.exitCode = exitCode
  }
}
