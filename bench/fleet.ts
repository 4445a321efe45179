import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mosquitto } from './broker-cluster.ts';
import { processorTimeOf } from './broker.ts';
import { Consumer } from './consumer.ts';
import type { Engine } from './engine.ts';
import { Folder } from './folder.ts';
import { Forwarder } from './forwarder.ts';
import { buildProgram, GatewayProcess, type Resident } from './gateway-process.ts';
import { table, type Report } from './page.ts';
import { show } from './rounds.ts';

/** Many gateways against one broker: what they take, and how they come back when it has been away. */

export interface FleetSizes {
  readonly gateways: number;
  /** How long they run before the broker goes, ms. */
  readonly ms: number;
  readonly awayMs: number;
}

export const FLEET: FleetSizes = { gateways: 50, ms: 600_000, awayMs: 10_000 };
export const FLEET_QUICK: FleetSizes = { gateways: 10, ms: 60_000, awayMs: 5000 };

const SEND_EVERY_MS = 1000;
/** Small, so that fifty files fit beside each other. */
const STORAGE = 'quota: 16MiB, keepFree: 1%';
/** Started at once; each takes a processor for a moment. */
const AT_ONCE = 4;
/** Start-up and its garbage belong to no figure, ms. */
const SETTLE_MS = 10_000;
const SAMPLE_EVERY_MS = 5000;
const BUCKET_MS = 250;
/** After this all have to be back: `reconnect.maxSecs` and something, ms. */
const BACK_MS_MAX = 120_000;
/** Running on after all are back, ms. */
const AFTER_MS = 10_000;
const QUIET_MS = 10_000;
const MB = 1e6;

/** The broker's end is 0. */
interface Attempt {
  readonly ms: number;
  readonly through: boolean;
}

interface Fleet {
  readonly processorUs: number;
  readonly brokerUs: number;
  readonly countedMs: number;
  readonly samples: readonly Resident[];
  readonly shares: readonly number[];
  readonly attempts: readonly Attempt[];
  readonly accepted: number;
  readonly delivered: number;
  readonly pending: number;
  readonly dropped: number;
  /** Delivered, says the gateway; the consumer never had it. */
  readonly lost: number;
  readonly again: number;
  readonly missing: number;
}

export async function fleet(sizes: FleetSizes): Promise<Report> {
  buildProgram();
  return report(sizes, await run(sizes));
}

async function run({ gateways: count, ms, awayMs }: FleetSizes): Promise<Fleet> {
  const folder = new Folder('fleet');
  const broker = await mosquitto(folder.path);
  const engine = broker.nodes[0]!;
  let goneAt = Number.NaN;
  const attempts: Attempt[] = [];
  const forwarder = await Forwarder.start([engine.port], (through) => {
    if (!Number.isNaN(goneAt)) attempts.push({ ms: performance.now() - goneAt, through });
  });
  const consumer = await Consumer.start(engine.port, 5);
  const gateways: GatewayProcess[] = [];
  try {
    while (gateways.length < count) {
      const names = Array.from(
        { length: Math.min(AT_ONCE, count - gateways.length) },
        (_, i) => gateways.length + i + 1,
      );
      const started = names.map((n) => startGateway(join(folder.path, `g${n}`), `line-${n}`, forwarder.port));
      gateways.push(...started);
      await Promise.all(started.map(({ running }) => running));
    }
    await wait(SETTLE_MS);
    const processorTime = () => gateways.reduce((sum, gateway) => sum + gateway.processorTime(), 0);
    const [used, brokerUsed, from] = [processorTime(), processorTimeOf(engine.pid), performance.now()];
    const samples: Resident[] = [];
    while (performance.now() - from < ms) {
      await wait(Math.min(SAMPLE_EVERY_MS, ms));
      samples.push(...gateways.map((gateway) => gateway.resident()));
    }
    const processorUs = processorTime() - used;
    const brokerUs = processorTimeOf(engine.pid) - brokerUsed;
    const countedMs = performance.now() - from;
    const shares = gateways.map((gateway) => gateway.share());
    goneAt = performance.now();
    await restart(engine, awayMs);
    await allBack(attempts, count);
    await wait(AFTER_MS);
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    const ledgers = await Promise.all(gateways.map((gateway) => gateway.ledger()));
    const sum = (figure: (ledger: (typeof ledgers)[number]) => number) =>
      ledgers.reduce((total, ledger) => total + figure(ledger), 0);
    const delivered = sum((ledger) => ledger.delivered);
    await consumer.until(delivered, QUIET_MS);
    const lost = ledgers.reduce((total, ledger, i) => {
      return total + Math.max(0, ledger.delivered - consumer.uniqueOf(`line-${i + 1}`));
    }, 0);
    const dropped = sum((ledger) => ledger.deadLetters + Object.values(ledger.dropped).reduce((a, b) => a + b, 0));
    const accepted = sum((ledger) => ledger.accepted);
    const { again, missing } = consumer.heard;
    return {
      processorUs,
      brokerUs,
      countedMs,
      samples,
      shares,
      attempts,
      accepted,
      delivered,
      pending: accepted - delivered - dropped,
      dropped,
      lost,
      again,
      missing,
    };
  } finally {
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    consumer.stop();
    await forwarder.stop();
    await broker.stop();
    folder.remove();
  }
}

function startGateway(folder: string, id: string, port: number): GatewayProcess {
  mkdirSync(folder);
  const upstream = `mqtt://127.0.0.1:${port}`;
  return new GatewayProcess({ folder, id, children: 1, upstream, sendEveryMs: SEND_EVERY_MS, storage: STORAGE });
}

async function restart(engine: Engine, awayMs: number): Promise<void> {
  await engine.kill('SIGTERM');
  await wait(awayMs);
  engine.start();
  await engine.listening();
}

async function allBack(attempts: readonly Attempt[], count: number): Promise<void> {
  const deadline = performance.now() + BACK_MS_MAX;
  while (attempts.filter(({ through }) => through).length < count) {
    if (performance.now() > deadline) throw new Error('not all gateways come back');
    await wait(BUCKET_MS);
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function report({ gateways, awayMs }: FleetSizes, result: Fleet): Report {
  const { samples, attempts, countedMs } = result;
  const secs = countedMs / 1000;
  const memory = (part: keyof Resident) => {
    const values = samples.map((sample) => sample[part] / MB);
    return [show(values.reduce((a, b) => a + b, 0) / values.length), show(Math.max(...values))];
  };
  const share = result.shares.reduce((a, b) => a + b, 0) / MB;
  const through = attempts.filter((attempt) => attempt.through).map(({ ms }) => ms);
  const back = Math.max(...through.toSorted((a, b) => a - b).slice(0, gateways)) / 1000;
  const most = Math.max(...counts(attempts).flat());
  const storm = counts(attempts).map((row, second) => [`${second}`, ...row.map((n) => (n === 0 ? '' : String(n)))]);
  const account = result.lost + result.missing + result.dropped;
  return {
    title: `${gateways} gateways and one broker`,
    method: [
      `${gateways} processes \`holdfast run\` on one machine, each with a simulated child that speaks every second and a quota of ` +
        `16 MiB, against one mosquitto 2.0 with persistence, ${show(secs)} s, from ${SETTLE_MS / 1000} s after the last was ` +
        `running. MB is a million bytes, sampled every ${SAMPLE_EVERY_MS / 1000} s in each process; "own" is anonymous memory; ` +
        `pages of files are the program's, which all have in common, and the spool's map. Then the broker is stopped, and ` +
        `started again ${awayMs / 1000} s later. A TCP forwarder before it takes every attempt to connect, and closes it while ` +
        `there is no broker; \`reconnect\` is as it comes (1 to 60 s).`,
    ],
    tables: [
      table(
        ['a gateway', 'mean', 'most'],
        [
          ['resident, MB', ...memory('all')],
          ['of it, own', ...memory('own')],
          ['of it, pages of files', ...memory('files')],
        ],
      ),
      table(
        ['all of them', ''],
        [
          ['processor time of a gateway, s in 10 minutes', show((result.processorUs / 1e6 / gateways / secs) * 600)],
          ['processor time of the gateways, % of one processor', show(result.processorUs / 1e4 / secs)],
          ['processor time of mosquitto, % of one processor', show(result.brokerUs / 1e4 / secs)],
          ['memory, what they have in common counted once (PSS), MB', show(share)],
          ['accepted', result.accepted.toLocaleString('en-US')],
          ['delivered', result.delivered.toLocaleString('en-US')],
          ['pending when they were stopped', show(result.pending)],
          ['dropped, or dead letters', show(result.dropped)],
          ['came twice', show(result.again)],
          ['attempts to connect after the broker went', show(attempts.length)],
          [`most attempts within ${BUCKET_MS} ms`, show(most)],
          ['all are back, s after it went', show(back)],
        ],
      ),
      `Attempts to connect in each ${BUCKET_MS} ms, by the second after the broker went:`,
      table(['s', '0 to 250', '250 to 500', '500 to 750', '750 to 1,000'], storm),
    ],
    goals: [
      {
        goal: 'nothing lost: all that was delivered came, without a gap',
        measured: `${account} lost`,
        met: account === 0,
      },
      {
        goal: 'all are back within 60 s of its return',
        measured: `${show(back - awayMs / 1000)} s`,
        met: back - awayMs / 1000 <= 60,
      },
    ],
  };
}

/** Attempts by second, and by quarter of it. */
function counts(attempts: readonly Attempt[]): number[][] {
  const rows: number[][] = [];
  for (const { ms } of attempts) {
    const second = Math.floor(ms / 1000);
    while (rows.length <= second) rows.push([0, 0, 0, 0]);
    rows[second]![Math.floor((ms % 1000) / BUCKET_MS)]!++;
  }
  return rows;
}
