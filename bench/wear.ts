import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { bodies } from './body.ts';
import { Disk, deviceText } from './disk.ts';
import { table, type Goal, type Report } from './page.ts';
import { peerFolder } from './peer.ts';
import { interleave, show, type Contender, type Results } from './rounds.ts';
import type { WearArgs } from './wear-life.ts';
import { Worker, type Figures } from './worker.ts';

/** What a message costs the medium over its whole life, and how much room it takes. */

export interface WearSizes {
  readonly rounds: number;
  /** Messages of each turn; of one that commits each message by itself. */
  readonly count: number;
  readonly single: number;
  /** Sizes of their bodies, ascending; the goals are for the first. */
  readonly bodyBytes: readonly number[];
  /** Whether SQLite takes part: it must be installed, and compiled, the first time. */
  readonly sqlite: boolean;
}

export const WEAR: WearSizes = { rounds: 3, count: 10_000, single: 500, bodyBytes: [256, 1024], sqlite: true };
export const WEAR_QUICK: WearSizes = { rounds: 1, count: 2000, single: 100, bodyBytes: [256, 1024], sqlite: true };

const STORE_AT_ONCE = 125;
const DELIVER_AT_ONCE = 1000;
/** Of all files, and Holdfast's quota: it fills its file up to there. */
const FILE_BYTES = 64 * 2 ** 20;

/** SPOOL goals: device bytes per payload byte, flushes per 1,000 messages, messages in the room that one takes otherwise. */
const LIFE_MAX = 1;
const FLUSHES_MAX = 19;
const FLUSHES_RELAXED_MAX = 10;
const ROOM_MIN = 3;

const HOLDFAST = 'Holdfast';
const RELAXED = 'Holdfast, `durability: relaxed`';
const KEYS = 'LMDB, one key a message';
const SINGLE = 'LMDB, one key and one commit a message';
const SQLITE = 'SQLite, write-ahead log, `synchronous=FULL`';
const LOG = 'append log with checksum and deflate (the limit)';
const NAMES = [HOLDFAST, RELAXED, KEYS, SINGLE, SQLITE, LOG];

/** One kind of body. */
interface Scene {
  readonly bodyBytes: number;
  readonly compressible: boolean;
}

export async function wear(sizes: WearSizes): Promise<Report> {
  const peers = sizes.sqlite ? peerFolder('sqlite') : null;
  const disk = Disk.make();
  const scenes = [true, false].flatMap((compressible) =>
    sizes.bodyBytes.map((bodyBytes): Scene => ({ bodyBytes, compressible })),
  );
  try {
    const results: Results[] = [];
    for (const scene of scenes) results.push(await interleave(contenders(disk, scene, sizes, peers), sizes.rounds));
    return report(sizes, disk, scenes, results, peers !== null);
  } finally {
    disk.remove();
  }
}

function contenders(disk: Disk, scene: Scene, sizes: WearSizes, peers: string | null): Contender[] {
  const contender = (name: string, kind: WearArgs['kind'], count = sizes.count, atOnce = STORE_AT_ONCE): Contender => ({
    name,
    measure: () =>
      life(disk, {
        ...scene,
        kind,
        count,
        storeAtOnce: atOnce,
        deliverAtOnce: atOnce === 1 ? 1 : DELIVER_AT_ONCE,
        fileBytes: FILE_BYTES,
        ...(peers === null ? {} : { peers }),
      }),
  });
  return [
    contender(HOLDFAST, 'spool'),
    contender(RELAXED, 'relaxed'),
    contender(KEYS, 'lmdb'),
    contender(SINGLE, 'lmdb', sizes.single, 1),
    ...(peers === null ? [] : [contender(SQLITE, 'sqlite')]),
    contender(LOG, 'log'),
  ];
}

async function life(disk: Disk, args: Omit<WearArgs, 'folder'>): Promise<Figures> {
  const folder = mkdtempSync(join(disk.folder, 'turn-'));
  try {
    return await (await Worker.start('wear-life', { ...args, folder })).go();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Part of its size that a typical body has when 125 are deflated together, without anything beside them. */
function deflated(bodyBytes: number): number {
  const body = bodies(1, bodyBytes);
  const together = Buffer.concat(Array.from({ length: STORE_AT_ONCE }, body));
  return deflateRawSync(together, { level: 1 }).length / together.length;
}

function count(number: number): string {
  return number.toLocaleString('en-US');
}

function titleOf({ bodyBytes, compressible }: Scene): string {
  return `${count(bodyBytes)} B, ${compressible ? 'JSON' : 'incompressible'}`;
}

function report(
  sizes: WearSizes,
  disk: Disk,
  scenes: readonly Scene[],
  results: readonly Results[],
  withSqlite: boolean,
): Report {
  const typical = results[0]!;
  const atMost = (goal: string, measured: number, most: number): Goal => ({
    goal,
    measured: show(measured),
    met: measured <= most,
  });
  const names = NAMES.filter((name) => typical.has(name));
  const mebibyte = (held: number) => 2 ** 20 / held;
  return {
    title: 'Wear: what a message costs the medium',
    method: [
      `${show(sizes.count)} messages (one commit each: ${show(sizes.single)}) are stored, ${STORE_AT_ONCE} a commit, then ` +
        `delivered and deleted, ${show(DELIVER_AT_ONCE)} a commit (one commit each: one). ${sizes.rounds} rounds in turn, ` +
        `median. Bytes and flushes are those that reached ${deviceText(disk)}, journal included, between a sync before and ` +
        `one after; "a payload byte" is one of a body, so that what else is kept of a message (time, id, sender: the same ` +
        `record for all) is cost. Files do not grow meanwhile: LMDB's and the log's are filled with zeros to ` +
        `${FILE_BYTES / 2 ** 20} MiB, Holdfast fills its own, and each contender has had as many messages before that are ` +
        `not counted, so that pages, and SQLite's log, are used again. SQLite's checkpoints are in its figure.` +
        (withSqlite ? '' : ' **SQLite could not be installed, and is missing.**'),
      `"Messages a MiB" is what the stored messages take of the file, in pages in use (the log: in bytes), not the length of ` +
        `the file. The JSON bodies, 125 together without anything beside them, deflate to ` +
        `${sizes.bodyBytes.map((bytes) => `${show(deflated(bytes))} (${count(bytes)} B)`).join(' and ')} of their size.`,
    ],
    tables: results.map((result, n) =>
      table(
        [
          titleOf(scenes[n]!),
          'bytes/payload byte, stored',
          'over the whole life',
          'flushes/1,000',
          'messages a MiB',
          'us/message',
        ],
        names.map((name) => [
          name,
          show(result.median(name, 'storing')),
          show(result.median(name, 'life')),
          show(result.median(name, 'flushes')),
          show(mebibyte(result.median(name, 'held'))),
          show(result.median(name, 'processorUs')),
        ]),
      ),
    ),
    goals: [
      atMost(
        `${titleOf(scenes[0]!)}: at most ${LIFE_MAX} byte a payload byte`,
        typical.median(HOLDFAST, 'life'),
        LIFE_MAX,
      ),
      atMost(`at most ${FLUSHES_MAX} flushes per 1,000 messages`, typical.median(HOLDFAST, 'flushes'), FLUSHES_MAX),
      atMost(
        `at most ${FLUSHES_RELAXED_MAX} with \`durability: relaxed\``,
        typical.median(RELAXED, 'flushes'),
        FLUSHES_RELAXED_MAX,
      ),
      ...results.slice(0, sizes.bodyBytes.length).map((result, n) => {
        const measured = result.ratio(KEYS, HOLDFAST, 'held');
        return {
          goal: `${titleOf(scenes[n]!)}: at least ${ROOM_MIN} times the messages a MiB of one key a message`,
          measured: show(measured),
          met: measured >= ROOM_MIN,
        };
      }),
    ],
  };
}
