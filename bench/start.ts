import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { lookAtSpool } from '../src/spool/files.ts';
import { Broker, freePort } from './broker.ts';
import { Folder } from './folder.ts';
import { BUNDLE, buildProgram, GatewayProcess, residentMemory, type Resident } from './gateway-process.ts';
import { table, type Report } from './page.ts';
import { interleave, median, show, spread, type Results } from './rounds.ts';
import { openInProcess, store } from './stored.ts';
import type { Figures } from './worker.ts';

/** How long the gateway takes to start, and how much memory it then takes. */

export interface StartSizes {
  readonly rounds: number;
  /** Idle before memory is read, ms. */
  readonly idleMs: number;
  readonly stored: number;
}

export const START: StartSizes = { rounds: 5, idleMs: 30_000, stored: 100_000 };
export const START_QUICK: StartSizes = { rounds: 2, idleMs: 5_000, stored: 20_000 };

const FIRST_MS_GOAL = 500;
const RESIDENT_MB_GOAL = 90;
const CHILDREN = 10;
const MB = 1e6;

const NODE = 'Node alone (`node -e 0`)';
const EMPTY = 'first start, nothing stored';
const AGAIN = 'started again';

export async function start(sizes: StartSizes): Promise<Report> {
  buildProgram();
  const full = new Folder('start');
  const withStored = `${AGAIN}, ${show(sizes.stored)} stored, upstream away`;
  try {
    await fill(full.path, sizes.stored);
    const times = await interleave(
      [
        { name: NODE, measure: nodeAlone },
        { name: EMPTY, measure: () => inFolder((folder) => timed(folder, false)) },
        { name: withStored, measure: () => timed(full.path, true) },
      ],
      sizes.rounds,
    );
    const memory = await resident(sizes, full.path);
    return report(sizes, times, [NODE, EMPTY, withStored], memory);
  } finally {
    full.remove();
  }
}

async function fill(folder: string, count: number): Promise<void> {
  mkdirSync(join(folder, 'data'));
  const open = await openInProcess(join(folder, 'data'));
  await store(open, count);
  await open.close();
}

async function nodeAlone(): Promise<Figures> {
  const from = performance.now();
  await new Promise((resolve) => spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' }).once('exit', resolve));
  return { runningMs: performance.now() - from };
}

/** Time until it runs, and until the first message of a child that speaks at once is durable. */
async function timed(folder: string, used: boolean): Promise<Figures> {
  const before = used ? await acceptedSoFar(folder) : 0;
  const gateway = new GatewayProcess({ folder, children: CHILDREN, upstream: `mqtt://127.0.0.1:${await freePort()}` });
  try {
    const [firstMs, runningMs] = await Promise.all([gateway.firstAccepted(before), gateway.running]);
    return { runningMs, firstMs };
  } finally {
    await gateway.stop();
  }
}

function acceptedSoFar(folder: string): Promise<number> {
  return lookAtSpool(join(folder, 'data'), (_, books) => books.ledger.accepted);
}

async function inFolder<T>(act: (folder: string) => Promise<T>): Promise<T> {
  const folder = new Folder('start');
  try {
    return await act(folder.path);
  } finally {
    folder.remove();
  }
}

interface Memory {
  readonly name: string;
  readonly resident: readonly Resident[];
}

/** Idle gateways beside each other: they use no processor to speak of, so they do not disturb one another. */
async function resident({ rounds, idleMs, stored }: StartSizes, full: string): Promise<Memory[]> {
  const broker = await Broker.start({ settings: ['log_type error'] });
  const nobody = `mqtt://127.0.0.1:${await freePort()}`;
  const folders: Folder[] = [];
  const several = (upstream: string, from?: string) =>
    Array.from({ length: rounds }, () => {
      const folder = new Folder('start');
      folders.push(folder);
      if (from !== undefined) cpSync(from, folder.path, { recursive: true });
      return new GatewayProcess({ folder: folder.path, children: CHILDREN, upstream });
    });
  const idle = several(broker.url);
  const holding = several(nobody, full);
  const node = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  try {
    await Promise.all([...idle, ...holding].map((gateway) => gateway.running));
    await new Promise((resolve) => setTimeout(resolve, idleMs));
    const memory = (gateways: readonly GatewayProcess[]) => gateways.map((gateway) => gateway.resident());
    return [
      { name: 'Node alone', resident: [residentMemory(node.pid!)] },
      { name: `${CHILDREN} children, connected, idle`, resident: memory(idle) },
      { name: `${CHILDREN} children, ${show(stored)} stored, upstream away`, resident: memory(holding) },
    ];
  } finally {
    node.kill();
    await Promise.all([...idle, ...holding].map((gateway) => gateway.stop()));
    for (const folder of folders) folder.remove();
    await broker.stop();
  }
}

function report(sizes: StartSizes, times: Results, names: readonly string[], memory: readonly Memory[]): Report {
  const bundle = statSync(BUNDLE).size;
  const packed = gzipSync(readFileSync(BUNDLE)).length;
  const megabytes = ({ resident: them }: Memory, part: keyof Resident) => spread(them.map((one) => one[part] / MB));
  const [idle, holding] = [memory[1]!, memory[2]!].map(({ resident: them }) => median(them.map(({ all }) => all / MB)));
  const firstMs = names.slice(1).map((name) => times.median(name, 'firstMs'));
  const goal = (what: string, measured: number, most: number) => ({
    goal: what,
    measured: show(measured),
    met: measured <= most,
  });
  return {
    title: 'Start and size',
    method: [
      `From starting the process \`node dist/start.cjs run\` with ${CHILDREN} simulated children, which all speak at ` +
        `once and then every minute, until it logs \`running\`, and until the first message is durable: seen from ` +
        `outside, in its files, every 2 ms. A wired child's message waits up to \`commitEveryMs\` (250, the default) for ` +
        `company, and that is in the figure. ${sizes.rounds} times in turn, median (least to most).`,
    ],
    tables: [
      table(
        ['start', 'running, ms', 'first message durable, ms'],
        names.map((name) => [name, spread(times.values(name, 'runningMs')), spread(times.values(name, 'firstMs'))]),
      ),
      `Resident memory after ${sizes.idleMs / 1000} s of idling, MB (million bytes); pages of files can be dropped by the kernel at any time:`,
      table(
        ['memory', 'resident', 'of it, its own', 'of it, pages of files'],
        memory.map((one) => [one.name, megabytes(one, 'all'), megabytes(one, 'own'), megabytes(one, 'files')]),
      ),
      `The bundle is ${show(bundle / 1024)} KiB, ${show(packed / 1024)} KiB gzipped, without the native modules.`,
    ],
    goals: [
      goal('first message accepted within 500 ms', firstMs[0]!, FIRST_MS_GOAL),
      goal('the same with messages stored', firstMs[1]!, FIRST_MS_GOAL),
      goal(`resident at most ${RESIDENT_MB_GOAL} MB, idle`, idle!, RESIDENT_MB_GOAL),
      goal('the same with messages stored', holding!, RESIDENT_MB_GOAL),
    ],
  };
}
