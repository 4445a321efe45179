import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ended } from './ended.ts';
import { Folder } from './folder.ts';
import { PROGRAM, buildProgram } from './gateway-process.ts';
import { table, type Report } from './page.ts';
import { interleave, show, spread, type Results } from './rounds.ts';
import type { Figures } from './worker.ts';
import { ROOT } from './worker.ts';

/** How long it takes from a reading on a serial line until the command that a rule gives is on it. */

export interface LatencySizes {
  readonly rounds: number;
  readonly readings: number;
  /** Between two readings, ms: nothing else goes on. */
  readonly everyMs: number;
}

export const LATENCY: LatencySizes = { rounds: 3, readings: 400, everyMs: 20 };
export const LATENCY_QUICK: LatencySizes = { rounds: 1, readings: 50, everyMs: 20 };

const P99_MS_GOAL = 10;
const READY_MS_MAX = 30_000;
const ANSWER_MS_MAX = 5000;

const RULE = 'Holdfast: serial, a rule, serial';
const ECHO = 'a process that answers each line (the limit)';

export async function latency(sizes: LatencySizes): Promise<Report> {
  buildProgram();
  const results = await interleave(
    [
      { name: RULE, measure: () => inFolder((folder) => turn(folder, gatewayOn(folder), sizes)) },
      { name: ECHO, measure: () => inFolder((folder) => turn(folder, echoOn(folder), sizes)) },
    ],
    sizes.rounds,
  );
  return report(sizes, results);
}

async function inFolder(measure: (folder: string) => Promise<Figures>): Promise<Figures> {
  const folder = new Folder('latency');
  try {
    return await measure(folder.path);
  } finally {
    folder.remove();
  }
}

/** A process at one end of a serial line, and how one sees that it listens. */
interface Peer {
  readonly start: () => ChildProcess;
  readonly ready: RegExp;
}

function gatewayOn(folder: string): Peer {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(
    file,
    `gateway: { id: line-4, dataDir: data }
storeAndForward: { keepFree: 1%, quota: 64MiB }
routes:
  telemetry: FROM /messages/* INTO $upstream
  hot: FROM /messages/* WHERE $connectionDeviceId = 'press' INTO BrokeredEndpoint("/modules/stop/inputs/input")
children:
  - { id: press, serial: { port: ${join(folder, 'line')}, baudRate: 115200, decoder: json } }
modules:
  - id: stop
    query: SELECT 'write' AS command, 'stop' AS line INTO output FROM input WHERE machine.temperature > 30
    outputs: { output: [ { command: press } ] }
`,
  );
  const start = () => spawn(process.execPath, [PROGRAM, 'run', '-c', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  return { start, ready: /\brunning$/ };
}

function echoOn(folder: string): Peer {
  const start = () =>
    spawn(process.execPath, ['--input-type=commonjs', '-e', ECHO_PROGRAM, join(folder, 'line')], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  return { start, ready: /^ready$/ };
}

const ECHO_PROGRAM = `
const { SerialPort } = require('serialport');
const port = new SerialPort({ path: process.argv[1], baudRate: 115200 }, () => console.log('ready'));
let text = '';
port.on('data', (bytes) => {
  text += bytes;
  for (let end = text.indexOf('\\n'); end !== -1; end = text.indexOf('\\n')) {
    const { machine } = JSON.parse(text.slice(0, end));
    text = text.slice(end + 1);
    if (machine.temperature > 30) port.write('stop\\n');
  }
});`;

async function turn(folder: string, peer: Peer, { readings, everyMs }: LatencySizes): Promise<Figures> {
  // We are the sensor: what we write comes out of the line, and what is written to it comes back to us.
  const line = spawn('socat', [`PTY,link=${join(folder, 'line')},raw,echo=0`, '-'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const heard = createInterface({ input: line.stdout });
  await new Promise((resolve) => setTimeout(resolve, 200));
  const process_ = peer.start();
  try {
    await within(READY_MS_MAX, 'the other end', (resolve) =>
      createInterface({ input: process_.stdout! }).on('line', (text) => peer.ready.test(text) && resolve()),
    );
    // What is done once at the start (the file is filled) is no part of it.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const took: number[] = [];
    for (let n = 0; n < readings; n++) {
      await new Promise((resolve) => setTimeout(resolve, everyMs));
      const from = performance.now();
      await within(ANSWER_MS_MAX, 'an answer', (resolve) => {
        heard.once('line', resolve);
        line.stdin.write(`{"machine":{"temperature":${31 + (n % 7)}.5,"pressure":1.2},"n":${n}}\n`);
      });
      took.push(performance.now() - from);
    }
    took.sort((a, b) => a - b);
    const at = (share: number) => took[Math.min(took.length - 1, Math.floor(took.length * share))]!;
    return { p50: at(0.5), p99: at(0.99), most: took.at(-1)! };
  } finally {
    const gone = ended(process_);
    process_.kill();
    await gone;
    line.kill();
  }
}

function within(ms: number, what: string, act: (resolve: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} did not come within ${ms} ms`)), ms);
    act(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function report(sizes: LatencySizes, results: Results): Report {
  const row = (name: string) => [name, ...['p50', 'p99', 'most'].map((figure) => spread(results.values(name, figure)))];
  const p99 = results.median(RULE, 'p99');
  return {
    title: 'From a reading on the wire to the actuator',
    method: [
      `A line of JSON is written to a serial line (a pseudo terminal); a rule (\`WHERE machine.temperature > 30\`) commands the child on the same line, and its bytes come back. ${show(sizes.readings)} readings, one every ${sizes.everyMs} ms, ${sizes.rounds} rounds in turn; median (least to most). Each reading is stored as well, and nothing waits for that. The limit is a process that does the same with serialport alone.`,
    ],
    tables: [table(['ms', 'half of them', '99 of 100', 'the longest'], [row(RULE), row(ECHO)])],
    goals: [
      { goal: `99 of 100 within ${P99_MS_GOAL} ms when idle`, measured: `${show(p99)} ms`, met: p99 <= P99_MS_GOAL },
    ],
  };
}
