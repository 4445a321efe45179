import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** When a thread did not turn for a while, ms of the machine's monotonic clock. */
type Pause = readonly [from: number, to: number];

/** Shorter ones are the machine's scheduling, ms. */
const PAUSE_MS_MIN = 10;

/** A thread that does nothing but turn; told so, it says when it could not. */
const WITNESS = `
const { parentPort } = require('node:worker_threads');
const now = () => Number(process.hrtime.bigint()) / 1e6;
const pauses = [];
let last = now();
const look = () => {
  const at = now();
  if (at - last >= ${PAUSE_MS_MIN}) pauses.push([last, at]);
  last = at;
};
const timer = setInterval(look, 1);
parentPort.once('message', () => {
  look();
  parentPort.postMessage(pauses);
  clearInterval(timer);
});
parentPort.postMessage('turning');
`;

/**
 * The longest time that the event loop of this thread stood still while another thread went on turning: a machine that stood still,
 * as a virtual one does whose processor others have, stopped both.
 */
export class LoopWatch {
  readonly #witness: Worker;
  readonly #pauses: Pause[] = [];
  #last = now();
  readonly #timer = setInterval(() => this.#look(), 1);

  private constructor(witness: Worker) {
    this.#witness = witness;
  }

  static async start(): Promise<LoopWatch> {
    const witness = new Worker(WITNESS, { eval: true, execArgv: [] });
    await once(witness, 'message');
    return new LoopWatch(witness);
  }

  /** Ends it; ms. */
  async longest(): Promise<number> {
    this.#look();
    clearInterval(this.#timer);
    const answer = once(this.#witness, 'message');
    this.#witness.postMessage('end');
    const [seen] = (await answer) as [Pause[]];
    const alone = this.#pauses.map(([from, to]) =>
      seen.reduce((ms, [a, b]) => ms - Math.max(0, Math.min(to, b) - Math.max(from, a)), to - from),
    );
    return Math.max(0, ...alone);
  }

  #look(): void {
    const at = now();
    if (at - this.#last >= PAUSE_MS_MIN) this.#pauses.push([this.#last, at]);
    this.#last = at;
  }
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
