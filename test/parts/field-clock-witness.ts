import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { kernelTimeSynchronised } from '../../src/clock/kernel-time.ts';
import { FieldClock } from './field-clock.ts';

/*
 * Lives in a world of field-clock.ts and says, as one line of JSON, what it sees of the time there: when it looked (monotonic, ns),
 * and how long by each clock each way of waiting took that Node.js has, ms.
 */

/** How long it waits each time, ms. */
const WITNESS_MS = Number(process.argv[2]);

/** What it says. */
export interface Testimony {
  readonly first: string;
  readonly last: string;
  readonly wallAtFirst: number;
  readonly waits: Readonly<
    Record<string, { readonly monotonic: number; readonly wall: number; readonly performance: number }>
  >;
  /** Ticks of an interval of a second meanwhile. */
  readonly ticks: number;
  /** What the wall clock gained on the monotonic one by a step of an hour, ms. */
  readonly stepped: number;
  readonly known: readonly [before: boolean, after: boolean];
}

const now = () => ({
  monotonic: Number(process.hrtime.bigint()) / 1e6,
  wall: Date.now(),
  performance: performance.now(),
});

async function taken(wait: () => unknown) {
  const from = now();
  await wait();
  const to = now();
  return {
    monotonic: to.monotonic - from.monotonic,
    wall: to.wall - from.wall,
    performance: to.performance - from.performance,
  };
}

async function witness(): Promise<Testimony> {
  const first = process.hrtime.bigint();
  const wallAtFirst = Date.now();
  let ticks = 0;
  const interval = setInterval(() => ticks++, 1000);
  // A timer waits for events; a condition is waited for by a clock.
  const timer = await taken(() => sleep(WITNESS_MS));
  clearInterval(interval);
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const condition = await taken(() => Atomics.wait(cell, 0, 0, WITNESS_MS));
  const inWorker = await taken(
    () =>
      new Promise((resolve) => {
        new Worker(`setTimeout(() => {}, ${WITNESS_MS})`, { eval: true }).once('exit', resolve);
      }),
  );
  const before = kernelTimeSynchronised();
  const clock = new FieldClock();
  const { wall, monotonic } = await taken(() => clock.step(3_600_000));
  clock.synchronise();
  const after = kernelTimeSynchronised();
  clock.close();
  const last = process.hrtime.bigint();
  return {
    first: String(first),
    last: String(last),
    wallAtFirst,
    waits: { timer, condition, inWorker },
    ticks,
    stepped: wall - monotonic,
    known: [before, after],
  };
}

process.stdout.write(`${JSON.stringify(await witness())}\n`);
process.exit(0);
