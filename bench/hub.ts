import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { offlineSubscriber, SAVE_EVERYTHING, storeBefore } from './accept.ts';
import { freePort } from './broker.ts';
import { Disk, deviceText } from './disk.ts';
import { buildBundle } from './gateway-process.ts';
import { HubGateway, keyedChildren } from './hub-gateway.ts';
import type { ChildrenArgs } from './hub-children.ts';
import { table, type Goal, type Report } from './page.ts';
import { interleave, show, spread, type Contender, type Results } from './rounds.ts';
import { Worker, type Figures } from './worker.ts';

/** Children that connect: what a hundred of them may say, and what a thousand cost that say nothing. */

export interface HubSizes {
  readonly rounds: number;
  /** How long each turn lasts, ms. */
  readonly ms: number;
  readonly children: number;
  readonly perSecond: number;
  readonly idle: number;
  /** How many messages an outage has left behind, in the third table. */
  readonly stored: number;
}

export const HUB: HubSizes = { rounds: 3, ms: 10_000, children: 100, perSecond: 10, idle: 1000, stored: 20_000 };
export const HUB_QUICK: HubSizes = { rounds: 1, ms: 3000, children: 100, perSecond: 10, idle: 200, stored: 20_000 };

const HOLDFAST = 'Holdfast';
const MOSQUITTO = 'mosquitto, saving on every change';
/** What each child may have on its way in the turn for the most messages. */
const WINDOW = 8;
/** How long children talk before it is looked whether they have said enough to be stored before, ms. */
const FILL_MS = 2500;
const COMMIT_MS = 250;
const MEBI = 2 ** 20;

export async function hub(sizes: HubSizes): Promise<Report> {
  buildBundle();
  const disk = Disk.make();
  try {
    const steady = await interleave(contenders(disk, sizes, sizes.perSecond), sizes.rounds);
    const most = await interleave(contenders(disk, sizes, null), sizes.rounds);
    const later = await interleave(contenders(disk, sizes, null, sizes.stored), sizes.rounds);
    const idle = await inFolder(disk, (folder) => idling(folder, sizes.idle));
    return report(sizes, disk, steady, most, later, idle);
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
  const holdfast = () =>
    inFolder(disk, async (folder) => {
      const port = await freePort();
      const gateway = await HubGateway.start(folder, port, registered);
      try {
        for (let before = 0; before < stored;) {
          const fill = { ...args(port), perSecond: null, ms: FILL_MS };
          before += (await (await Worker.start('hub-children', fill)).go())['messages']!;
        }
        const figures = await (await Worker.start('hub-children', args(port))).go();
        return { ...figures, residentMiB: gateway.resident().all / MEBI };
      } finally {
        await gateway.stop();
      }
    });
  const mosquitto = () =>
    inFolder(disk, async (folder) => {
      if (stored > 0) await storeBefore(folder, stored);
      const broker = await offlineSubscriber(folder, SAVE_EVERYTHING);
      try {
        return await (await Worker.start('hub-children', args(broker.port))).go();
      } finally {
        await broker.stop();
      }
    });
  return [
    { name: HOLDFAST, measure: holdfast },
    { name: MOSQUITTO, measure: mosquitto },
  ];
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

function report(sizes: HubSizes, disk: Disk, steady: Results, most: Results, later: Results, idle: Figures): Report {
  const names = [HOLDFAST, MOSQUITTO];
  const ratio = most.ratio(HOLDFAST, MOSQUITTO, 'perSecond');
  const laterRatio = later.ratio(HOLDFAST, MOSQUITTO, 'perSecond');
  const p99 = steady.median(HOLDFAST, 'p99');
  const goals: Goal[] = [
    {
      goal: 'most messages, nothing stored before: at least 5 times mosquitto',
      measured: show(ratio),
      met: ratio >= 5,
    },
    {
      goal: `most messages, ${show(sizes.stored)} stored before: at least 5 times mosquitto`,
      measured: show(laterRatio),
      met: laterRatio >= 5,
    },
    {
      goal: `${sizes.children} children x ${sizes.perSecond}/s: PUBACK p99 under ${COMMIT_MS} + 50 ms`,
      measured: `${show(p99)} ms`,
      met: p99 < COMMIT_MS + 50,
    },
  ];
  const rows = (results: Results) =>
    names.map((name) => [
      name,
      spread(results.values(name, 'perSecond')),
      show(results.median(name, 'p50')),
      spread(results.values(name, 'p99')),
      show(results.median(name, 'most')),
      show(results.median(name, 'residentMiB')),
    ]);
  const head = (title: string) => [title, 'messages/s', 'PUBACK p50, ms', 'p99, ms', 'most, ms', 'resident, MiB'];
  return {
    title: 'Connected children',
    method: [
      `The program as users run it, without an upstream, and children in one process of their own with bare sockets over loopback: MQTT ` +
        `3.1.1 without TLS, tokens as the SDKs make them, bodies of 256 B, QoS 1. Latency is from when a message is due until ` +
        `its PUBACK. ${sizes.ms / 1000} s, ${sizes.rounds} rounds in turn, median (least to most), on ${deviceText(disk)}.`,
      `mosquitto 2.0.11 lets anybody in, keeps the messages for one durable subscriber who is away, and saves on every change; ` +
        `it acknowledges before it saves (see "Accepting durably while offline").`,
    ],
    tables: [
      table(head(`${sizes.children} children, ${sizes.perSecond} messages/s each`), rows(steady)),
      table(head(`${sizes.children} children, ${WINDOW} on their way each`), rows(most)),
      table(head(`the same, ${show(sizes.stored)} stored before`), rows(later)),
      table(
        [`${sizes.idle} children that say nothing`, 'MiB before', 'MiB with them', 'KiB each'],
        [[`${HOLDFAST} (memory of its own)`, show(idle['before']!), show(idle['after']!), show(idle['each']!)]],
      ),
    ],
    goals,
  };
}
