import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { PublishBatch } from '../src/upstream/publish-packet.ts';
import { Broker } from './broker.ts';
import { Disk, deviceText } from './disk.ts';
import { mqttSocket } from './mqtt-socket.ts';
import { table, type Goal, type Report } from './page.ts';
import { interleave, show, spread, type Contender, type Results } from './rounds.ts';
import { Worker, type Figures } from './worker.ts';

/** Taking messages on, durably, while there is no upstream. */

export interface AcceptSizes {
  readonly rounds: number;
  /** How long each turn lasts, ms. */
  readonly ms: number;
  /** How many messages an outage has left behind, in the second half. */
  readonly stored: number;
}

export const ACCEPT: AcceptSizes = { rounds: 3, ms: 5000, stored: 20_000 };
export const ACCEPT_QUICK: AcceptSizes = { rounds: 1, ms: 2000, stored: 20_000 };

/** One setting in which all are compared. */
interface Scene {
  readonly producers: number;
  readonly stored: number;
}

const HOLDFAST = 'Holdfast';
const MOSQUITTO = 'mosquitto, saving on every change';
const UNSAVED = 'mosquitto, saving nothing';
const LOG = 'append and fdatasync (the limit)';

/** The only setting of mosquitto that loses nothing to a kill. */
export const SAVE_EVERYTHING = ['autosave_on_changes true', 'autosave_interval 1'];
const SAVE_NEVER = ['autosave_interval 0'];
/** Acknowledgements after which we look whether mosquitto has saved. */
export const LOOKS = 50;

/** Window of the client that stores messages beforehand. */
const FILL_WINDOW = 1000;

export async function accept(sizes: AcceptSizes): Promise<Report> {
  const disk = Disk.make();
  const scenes = [0, sizes.stored].flatMap((stored) => [1, 64].map((producers) => ({ producers, stored })));
  try {
    const results: Results[] = [];
    for (const scene of scenes) results.push(await interleave(contenders(disk, scene, sizes.ms), sizes.rounds));
    return report(sizes, disk, scenes, results, await savedWhenAcknowledged(disk));
  } finally {
    disk.remove();
  }
}

function contenders(disk: Disk, scene: Scene, ms: number): Contender[] {
  return [
    { name: HOLDFAST, measure: () => inProcess(disk, 'accept-spool', scene, ms) },
    { name: MOSQUITTO, measure: () => mosquitto(disk, SAVE_EVERYTHING, scene, ms) },
    { name: UNSAVED, measure: () => mosquitto(disk, SAVE_NEVER, scene, ms) },
    { name: LOG, measure: () => inProcess(disk, 'accept-log', scene, ms) },
  ];
}

/** What one contender wrote to the device, for each of its messages. */
async function counted(disk: Disk, act: (folder: string) => Promise<Figures>): Promise<Figures> {
  const folder = mkdtempSync(join(disk.folder, 'turn-'));
  try {
    return await act(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function run(disk: Disk, worker: Worker): Promise<Figures> {
  const before = disk.written();
  const figures = await worker.go();
  const after = disk.written();
  const messages = figures['messages']!;
  return {
    ...figures,
    bytes: (after.bytes - before.bytes) / messages,
    flushes: ((after.flushes - before.flushes) * 1000) / messages,
  };
}

function inProcess(disk: Disk, file: string, scene: Scene, ms: number): Promise<Figures> {
  return counted(disk, async (folder) => run(disk, await Worker.start(file, { ...scene, folder, ms })));
}

function mosquitto(disk: Disk, saving: readonly string[], scene: Scene, ms: number): Promise<Figures> {
  return counted(disk, async (folder) => {
    if (scene.stored > 0) await storeBefore(folder, scene.stored);
    const broker = await offlineSubscriber(folder, saving);
    try {
      const { port } = broker;
      const worker = await Worker.start('accept-socket', { port, producers: scene.producers, ms });
      const before = broker.processorTime();
      const figures = await run(disk, worker);
      return { ...figures, processorUs: (broker.processorTime() - before) / figures['messages']! };
    } finally {
      await broker.stop();
    }
  });
}

/** Leaves messages in mosquitto's file. It saves when it ends: on every change would take minutes. */
export async function storeBefore(folder: string, count: number): Promise<void> {
  const broker = await offlineSubscriber(folder, SAVE_NEVER);
  const fill = { port: broker.port, count, window: FILL_WINDOW, properties: false };
  await (await Worker.start('drain-raw', fill)).go();
  await broker.stop({ saving: true });
}

/** A mosquitto that keeps everything for one who has subscribed and gone. */
export async function offlineSubscriber(folder: string, saving: readonly string[]): Promise<Broker> {
  const broker = await Broker.start({
    settings: [
      'log_type error',
      'persistence true',
      `persistence_location ${folder}/`,
      'max_queued_messages 0',
      'max_queued_bytes 0',
      'set_tcp_nodelay true',
      ...saving,
    ],
  });
  const subscriber = await connectAsync(broker.url, { clientId: 'away', clean: false, protocolVersion: 4 });
  await subscriber.subscribeAsync('#', { qos: 1 });
  await subscriber.endAsync();
  return broker;
}

/** How many of mosquitto's acknowledgements came when the message was in its file. */
export function savedWhenAcknowledged(disk: Disk): Promise<number> {
  return new Promise((resolve, reject) => {
    void counted(disk, async (folder) => {
      const broker = await offlineSubscriber(folder, SAVE_EVERYTHING);
      let saved = 0;
      for (let n = 0; n < LOOKS; n++) {
        const marker = `marker-${n}-`;
        const batch = new PublishBatch(5, 1024);
        batch.add(1, { topic: 'marked', body: Buffer.from(marker) });
        await new Promise<void>((acknowledged, failed) => {
          mqttSocket(broker.port, `look-${n}`, () => {
            if (readFileSync(join(folder, 'mosquitto.db')).includes(marker)) saved++;
            acknowledged();
          }).then((socket) => socket.write(batch.take()), failed);
        });
      }
      await broker.stop();
      resolve(saved);
      return {};
    }).catch(reject);
  });
}

function titleOf({ producers, stored }: Scene): string {
  const who = producers === 1 ? '1 producer' : `${producers} producers`;
  return stored === 0 ? `${who}, nothing stored before` : `${who}, ${show(stored)} stored before`;
}

function report(
  sizes: AcceptSizes,
  disk: Disk,
  scenes: readonly Scene[],
  results: readonly Results[],
  saved: number,
): Report {
  const names = [HOLDFAST, MOSQUITTO, UNSAVED, LOG];
  const goals = results.flatMap((result, n): Goal[] => {
    const who = titleOf(scenes[n]!);
    const mosquittos = result.ratio(HOLDFAST, MOSQUITTO, 'perSecond');
    const limits = result.ratio(LOG, HOLDFAST, 'perSecond');
    return [
      { goal: `${who}: at least 5 times mosquitto`, measured: show(mosquittos), met: mosquittos >= 5 },
      { goal: `${who}: within 2 times of the limit`, measured: show(limits), met: limits <= 2 },
    ];
  });
  return {
    title: 'Accepting durably while offline',
    method: [
      `Bodies of 256 B; each producer sends its next message when the last one is acknowledged; ${sizes.ms / 1000} s, ` +
        `${sizes.rounds} rounds in turn, median (least to most). Bytes and flushes are those that reached ${deviceText(disk)}, journal ` +
        `included, between a sync before and one after.`,
      `Holdfast and the limit run in the producers' process, as a connected child's connection will; mosquitto 2.0.11 is ` +
        `reached over loopback by one process with bare sockets (the row that saves nothing shows what that way costs), and ` +
        `keeps the messages for one durable subscriber who is away. It saves with \`${SAVE_EVERYTHING.join('`, `')}\`, ` +
        `rewriting its whole file each time, so its rate falls as messages gather: the second half begins with what an outage has left behind. ` +
        `Of ${LOOKS} of its acknowledgements, ${saved} came when the message was in its file: where it is not all of them, ` +
        `mosquitto acknowledges before it saves, a kill can lose what it acknowledged, and its figure flatters it. ` +
        `The limit appends the same blocks, made at the same cadence, to a file, with fdatasync. Its file grows, as a log's ` +
        `does: each of its flushes is two, and brings the journal's part with it. Holdfast's is filled up to its quota before ` +
        `anything is counted, and does not grow (what a log writes into a file that is long already is under \`wear\`).`,
    ],
    tables: results.map((result, n) =>
      table(
        [titleOf(scenes[n]!), 'messages/s', 'bytes/message', 'flushes/1,000', 'us/message', 'Holdfast to this'],
        names.map((name) => [
          name,
          spread(result.values(name, 'perSecond')),
          show(result.median(name, 'bytes')),
          show(result.median(name, 'flushes')),
          show(result.median(name, 'processorUs')),
          show(result.ratio(HOLDFAST, name, 'perSecond')),
        ]),
      ),
    ),
    goals,
  };
}
