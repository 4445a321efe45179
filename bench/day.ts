import { setTimeout as wait } from 'node:timers/promises';
import { Broker } from './broker.ts';
import { Disk, deviceText } from './disk.ts';
import { buildProgram, GatewayProcess } from './gateway-process.ts';
import { table, type Report } from './page.ts';
import { Results, show } from './rounds.ts';
import type { Figures } from './worker.ts';

/** What a gateway writes to its medium in a day while the network is there. */

export interface DaySizes {
  /** How long nothing is counted after the start, ms: the file is filled, and what comes once a minute then falls within. */
  readonly settleMs: number;
  /** How long is counted, ms: whole minutes. */
  readonly ms: number;
}

export const DAY: DaySizes = { settleMs: 30_000, ms: 180_000 };
export const DAY_QUICK: DaySizes = { settleMs: 2000, ms: 10_000 };

const CHILDREN = 10;
const SEND_EVERY_MS = 100;
const DISK_BYTES = 256 * 2 ** 20;
/** Small, so that it is soon filled: what matters is that nothing gathers. */
const QUOTA = '16MiB';
/** How long the spool's file must keep its length, ms, and how long we wait for that. */
const STILL_MS = 1000;
const STILL_MS_MAX = 60_000;

const DAY_MS = 86_400_000;
const MB = 1e6;
const NEEDED_MB_MAX = 50;

const ALWAYS = '`write: always`, `commitEveryMs: 250` (the default)';
const SELDOM = '`write: always`, `commitEveryMs: 1000`';
const NEEDED = '`write: when-needed`, `commitEveryMs: 250`';
const SETTINGS: Readonly<Record<string, string>> = {
  [ALWAYS]: 'write: always, commitEveryMs: 250',
  [SELDOM]: 'write: always, commitEveryMs: 1000',
  [NEEDED]: 'write: when-needed, commitEveryMs: 250',
};

export async function day(sizes: DaySizes): Promise<Report> {
  buildProgram();
  const disks = new Map(Object.keys(SETTINGS).map((name) => [name, Disk.make(DISK_BYTES)]));
  const results = new Results();
  try {
    // Beside each other: each has a device of its own, and none of them uses the processor to speak of.
    const ends = await Promise.allSettled(
      [...disks].map(async ([name, disk]) => {
        const figures = await measure(sizes, disk, SETTINGS[name]!);
        results.add(name, figures);
        const shown = Object.entries(figures).map(([figure, value]) => `${figure} ${show(value)}`);
        process.stderr.write(`  ${name}: ${shown.join(', ')}\n`);
      }),
    );
    // Not before all have ended: a gateway that is left behind would keep its device.
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    return report(sizes, [...disks.values()], results);
  } finally {
    for (const disk of disks.values()) disk.remove();
  }
}

async function measure({ settleMs, ms }: DaySizes, disk: Disk, settings: string): Promise<Figures> {
  // One for each: they have the same client identifier.
  const broker = await Broker.start({ settings: ['log_type error'] });
  const storage = `keepFree: 1%, quota: ${QUOTA}, ${settings}`;
  const gateway = new GatewayProcess({
    folder: disk.folder,
    children: CHILDREN,
    sendEveryMs: SEND_EVERY_MS,
    upstream: broker.url,
    storage,
  });
  try {
    await gateway.running;
    await Promise.all([wait(settleMs), still(gateway)]);
    const statusBefore = await gateway.status();
    const before = disk.written();
    const from = performance.now();
    await wait(ms);
    const after = disk.written();
    const elapsed = performance.now() - from;
    const { ledger, upstream: above } = await gateway.status();
    if (above?.state !== 'online') throw new Error(`the upstream is ${above?.state ?? 'absent'}`);
    const messages = ledger.delivered - statusBefore.ledger.delivered;
    const bytes = after.bytes - before.bytes;
    return {
      perSecond: (messages * 1000) / elapsed,
      bytesPerMessage: bytes / messages,
      bytesPerDay: (bytes / elapsed) * DAY_MS,
      flushesPerSecond: ((after.flushes - before.flushes) * 1000) / elapsed,
    };
  } finally {
    await gateway.stop();
    await broker.stop();
  }
}

/** Resolves when the spool's file has reached its length. */
async function still(gateway: GatewayProcess): Promise<void> {
  const until = performance.now() + STILL_MS_MAX;
  for (let bytes = -1; bytes !== gateway.fileBytes(); await wait(STILL_MS)) {
    bytes = gateway.fileBytes();
    if (performance.now() > until) throw new Error("the spool's file does not stop growing");
  }
}

function report({ ms }: DaySizes, disks: readonly Disk[], results: Results): Report {
  const names = Object.keys(SETTINGS);
  const needed = results.median(NEEDED, 'bytesPerDay') / MB;
  return {
    title: 'A day while the network is there',
    method: [
      `\`holdfast run\` with ${CHILDREN} simulated children that each speak every ${SEND_EVERY_MS} ms (JSON of about 175 B), ` +
        `connected to a mosquitto 2.0.11 of its own on loopback. Counted for ${show(ms / 1000)} s in a gateway that has been running for ` +
        `a while, with its file (quota ${QUOTA}) at its full length: all that reached ${deviceText(disks[0]!)}, one for each ` +
        `gateway, so journal, ledger, marks, and the copies of the totals that are made once a minute are in it. A day is ` +
        `that, so many times. The gateways run beside each other, once. MB is a million bytes.`,
    ],
    tables: [
      table(
        ['setting', 'messages/s', 'bytes/message', 'flushes/s', 'MB/day'],
        names.map((name) => [
          name,
          show(results.median(name, 'perSecond')),
          show(results.median(name, 'bytesPerMessage')),
          show(results.median(name, 'flushesPerSecond')),
          show(results.median(name, 'bytesPerDay') / MB),
        ]),
      ),
    ],
    goals: [
      {
        goal: `when-needed: at most ${NEEDED_MB_MAX} MB a day at 100 messages/s`,
        measured: show(needed),
        met: needed <= NEEDED_MB_MAX,
      },
    ],
  };
}
