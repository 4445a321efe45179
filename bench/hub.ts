import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LOOKS, offlineSubscriber, SAVE_EVERYTHING, savedWhenAcknowledged, storeBefore } from './accept.ts';
import { freePort } from './broker.ts';
import { Disk, deviceText } from './disk.ts';
import { buildProgram } from './gateway-process.ts';
import { HubGateway, keyedChildren } from './hub-gateway.ts';
import type { ChildrenArgs } from './hub-children.ts';
import { table, type Goal, type Report } from './page.ts';
import { interleave, show, spread, type Contender, type Results } from './rounds.ts';
import { Worker, type Figures } from './worker.ts';

/** Children that connect: what a hundred of them may say, also with a long outage behind them, and what a thousand cost that say nothing. */

export interface HubSizes {
  readonly rounds: number;
  /** How long each turn lasts, ms. */
  readonly ms: number;
  readonly children: number;
  readonly perSecond: number;
  readonly idle: number;
  /** How many messages an outage has left behind, in the third table. */
  readonly stored: number;
  /** And a long one, for the memory that it takes. */
  readonly long: number;
}

export const HUB: HubSizes = {
  rounds: 3,
  ms: 10_000,
  children: 100,
  perSecond: 10,
  idle: 1000,
  stored: 20_000,
  long: 1_000_000,
};
export const HUB_QUICK: HubSizes = { ...HUB, rounds: 1, ms: 3000, idle: 200, long: 100_000 };

const HOLDFAST = 'Holdfast';
const MOSQUITTO = 'mosquitto, saving on every change';
const SELDOM = 'mosquitto, saving once a second';
/** What is acknowledged and not saved yet is lost to a kill: up to two seconds of it. */
const SAVE_SELDOM = ['autosave_interval 1'];
/** What each child may have on its way in the turn for the most messages. */
const WINDOW = 8;
/** How long children may take to say what is to be stored before, ms. */
const FILL_MS_MAX = 300_000;
/** The most that the gateway may take up of the memory, MiB: the goal's 120 MB. */
const RESIDENT_MIB_MAX = 120e6 / 2 ** 20;
const COMMIT_MS = 250;
const MEBI = 2 ** 20;

export async function hub(sizes: HubSizes): Promise<Report> {
  buildProgram();
  const disk = Disk.make();
  try {
    const steady = await interleave(contenders(disk, sizes, sizes.perSecond), sizes.rounds);
    const most = await interleave(contenders(disk, sizes, null), sizes.rounds);
    const later = await interleave(contenders(disk, sizes, null, sizes.stored), sizes.rounds);
    const long = await interleave([holdfastAlone(disk, sizes)], sizes.rounds);
    const idle = await inFolder(disk, (folder) => idling(folder, sizes.idle));
    return report({ sizes, disk, steady, most, later, long, idle, saved: await savedWhenAcknowledged(disk) });
  } finally {
    disk.remove();
  }
}

async function inFolder<T>(disk: Disk, act: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(disk.folder, 'turn-'));
  try {
    return await act(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function contenders(disk: Disk, sizes: HubSizes, perSecond: number | null, stored = 0): Contender[] {
  const { children, registered } = keyedChildren(sizes.children);
  const args = (port: number): ChildrenArgs => ({ port, children, perSecond, window: WINDOW, ms: sizes.ms });
  const mosquitto = (saving: readonly string[]) => () =>
    inFolder(disk, async (folder) => {
      if (stored > 0) await storeBefore(folder, stored);
      const broker = await offlineSubscriber(folder, saving);
      try {
        return await (await Worker.start('hub-children', args(broker.port))).go();
      } finally {
        await broker.stop();
      }
    });
  return [
    { name: HOLDFAST, measure: () => holdfast(disk, registered, args, stored) },
    { name: MOSQUITTO, measure: mosquitto(SAVE_EVERYTHING) },
    ...(perSecond === null ? [{ name: SELDOM, measure: mosquitto(SAVE_SELDOM) }] : []),
  ];
}

/** mosquitto would write half a gigabyte for each save. */
function holdfastAlone(disk: Disk, sizes: HubSizes): Contender {
  const { children, registered } = keyedChildren(sizes.children);
  const { perSecond, ms, long } = sizes;
  const args = (port: number): ChildrenArgs => ({ port, children, perSecond, window: WINDOW, ms });
  return { name: HOLDFAST, measure: () => holdfast(disk, registered, args, long) };
}

function holdfast(
  disk: Disk,
  registered: readonly object[],
  args: (port: number) => ChildrenArgs,
  stored: number,
): Promise<Figures> {
  return inFolder(disk, async (folder) => {
    const port = await freePort();
    const gateway = await HubGateway.start(folder, port, registered);
    try {
      if (stored > 0) {
        const fill = { ...args(port), perSecond: null, ms: FILL_MS_MAX, count: stored };
        await (await Worker.start('hub-children', fill)).go();
      }
      const figures = await (await Worker.start('hub-children', args(port))).go();
      const { all, own, files } = gateway.resident();
      return { ...figures, residentMiB: all / MEBI, ownMiB: own / MEBI, filesMiB: files / MEBI };
    } finally {
      await gateway.stop();
    }
  });
}

async function idling(folder: string, count: number): Promise<Figures> {
  const { children, registered } = keyedChildren(count);
  const port = await freePort();
  const gateway = await HubGateway.start(folder, port, registered);
  try {
    const before = gateway.resident();
    const idle = { port, children, perSecond: 0, window: 1, ms: 2000 } satisfies ChildrenArgs;
    const worker = await Worker.start('hub-children', idle);
    const after = gateway.resident();
    await worker.go();
    return { before: before.own / MEBI, after: after.own / MEBI, each: (after.own - before.own) / 1024 / count };
  } finally {
    await gateway.stop();
  }
}

interface Outcome {
  readonly sizes: HubSizes;
  readonly disk: Disk;
  readonly steady: Results;
  readonly most: Results;
  readonly later: Results;
  readonly long: Results;
  readonly idle: Figures;
  /** Of {@link LOOKS} acknowledgements of mosquitto's, those that came when the message was in its file. */
  readonly saved: number;
}

function report({ sizes, disk, steady, most, later, long, idle, saved }: Outcome): Report {
  const ratio = most.ratio(HOLDFAST, MOSQUITTO, 'perSecond');
  const laterRatio = later.ratio(HOLDFAST, MOSQUITTO, 'perSecond');
  const p99 = steady.median(HOLDFAST, 'p99');
  const resident = long.median(HOLDFAST, 'residentMiB');
  const goals: Goal[] = [
    {
      goal: 'most messages, nothing stored before: at least 5 times mosquitto, saving on every change',
      measured: show(ratio),
      met: ratio >= 5,
    },
    {
      goal: `most messages, ${show(sizes.stored)} stored before: the same`,
      measured: show(laterRatio),
      met: laterRatio >= 5,
    },
    {
      goal: `${sizes.children} children x ${sizes.perSecond}/s: PUBACK p99 under ${COMMIT_MS} + 50 ms`,
      measured: `${show(p99)} ms`,
      met: p99 < COMMIT_MS + 50,
    },
    {
      goal: `${show(sizes.long)} stored: resident under 120 MB`,
      measured: `${show((resident * MEBI) / 1e6)} MB`,
      met: resident < RESIDENT_MIB_MAX,
    },
  ];
  const rows = (results: Results, names: readonly string[]) =>
    names.map((name) => [
      name,
      spread(results.values(name, 'perSecond')),
      show(results.median(name, 'p50')),
      spread(results.values(name, 'p99')),
      show(results.median(name, 'most')),
    ]);
  const head = (title: string) => [title, 'messages/s', 'PUBACK p50, ms', 'p99, ms', 'most, ms'];
  const memory = [
    ['nothing stored', steady],
    [`${show(sizes.stored)} stored, as many messages as it takes`, later],
    [`${show(sizes.long)} stored`, long],
  ] as const;
  return {
    title: 'Connected children',
    method: [
      `The program as users run it, without an upstream, and children in one process of their own with bare sockets over loopback: MQTT ` +
        `3.1.1 without TLS, tokens as the SDKs make them, bodies of 256 B, QoS 1. Their packets lie ready, and what the window ` +
        `lets go leaves in one write, so that they take little of the processor from whom they talk to. Latency is from when a ` +
        `message is due until its PUBACK. ${sizes.ms / 1000} s, ${sizes.rounds} rounds in turn, median (least to most), on ${deviceText(disk)}.`,
      `mosquitto 2.0.11 lets anybody in and keeps the messages for one durable subscriber who is away (\`persistence true\`). ` +
        `Its durable settings are \`${SAVE_EVERYTHING.join('`, `')}\`: it writes its whole file, with fsync, in each turn of its ` +
        `loop in which something changed, for all that it read in that turn. No other setting saves sooner, and this one still ` +
        `acknowledges first: of ${LOOKS} of its acknowledgements, ${saved} came when the message was in its file, so a kill takes what ` +
        `it acknowledged in that turn. Holdfast acknowledges what a commit, with two flushes, has made durable. ` +
        `"Once a second" is \`${SAVE_SELDOM.join('`, `')}\` alone: a kill takes up to two seconds of acknowledged messages. ` +
        `It is here to show what the broker and the children can do.`,
    ],
    tables: [
      table(
        head(`${sizes.children} children, ${sizes.perSecond} messages/s each`),
        rows(steady, [HOLDFAST, MOSQUITTO]),
      ),
      table(head(`${sizes.children} children, ${WINDOW} on their way each`), rows(most, [HOLDFAST, MOSQUITTO, SELDOM])),
      table(head(`the same, ${show(sizes.stored)} stored before`), rows(later, [HOLDFAST, MOSQUITTO, SELDOM])),
      table(
        head(`${sizes.children} children, ${sizes.perSecond} messages/s each, ${show(sizes.long)} stored before`),
        rows(long, [HOLDFAST]),
      ),
      table(
        [`memory with ${sizes.children} children, MiB`, 'resident', 'of it, its own', 'of it, pages of files'],
        memory.map(([name, results]) => [
          name,
          ...['residentMiB', 'ownMiB', 'filesMiB'].map((figure) => spread(results.values(HOLDFAST, figure))),
        ]),
      ),
      table(
        [`${sizes.idle} children that say nothing`, 'MiB before', 'MiB with them', 'KiB each'],
        [[`${HOLDFAST} (memory of its own)`, show(idle['before']!), show(idle['after']!), show(idle['each']!)]],
      ),
    ],
    goals,
  };
}
