/*
 * Cuts the power: makes the disk of a {@link History} anew as it was after a cut, mounts it, opens the spool as a gateway
 * does, and holds what is there against what had been promised. A process of its own, because a damaged map is a SIGBUS.
 * Writes a line of JSON for each cut, before it (`{cut}`) and after it ({@link Cut}).
 */
import { readFileSync, writeFileSync, writeSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Loss } from '../../src/message/loss.ts';
import { lookAtSpool } from '../../src/spool/files.ts';
import { verify } from '../../src/spool/inspection.ts';
import { run } from './block-stack.ts';
import { chance } from './chance.ts';
import { bodyOf, LANES_USED, STANDARD, stateOf, type Happened, type History } from './power-cut-history.ts';
import { SpoolRig } from './spool-rig.ts';
import { CutDisk, readWriteLog } from './write-log.ts';

export interface CheckerOptions {
  /** A folder of its own, with room for one disk. */
  readonly place: string;
  readonly blank: string;
  readonly log: string;
  readonly history: string;
  /** Cuts: after so many requests each, rising. */
  readonly cuts: readonly number[];
  readonly seed: number;
}

/** What one power cut left. */
export interface Cut {
  readonly cut: number;
  /** Number of the last commit that had been noted as durable; -1: none. */
  readonly promised: number;
  /** Number of the commit that the books are of; -1: there is no spool; null: of none that there was. */
  readonly found: number | null;
  /** Acknowledged messages that are neither there, nor delivered before the cut, nor in a loss report. */
  readonly missing: readonly (readonly [lane: number, seq: number])[];
  /** Lanes in which the next message got a number that the upstream, or a sender, knows for another one. */
  readonly reused: readonly number[];
  /** Anything that no power cut may bring about, however little is promised. */
  readonly problems: readonly string[];
}

/** A commit that has not ended after this is not going to, ms. */
const COMMIT_MS_MAX = 10_000;

async function main(options: CheckerOptions): Promise<void> {
  const history = JSON.parse(readFileSync(options.history, 'utf8')) as History;
  const disk = new CutDisk(readFileSync(options.blank), readWriteLog(options.log));
  const image = join(options.place, 'image');
  const dir = join(options.place, 'mounted');
  mkdirSync(dir);
  for (const cut of options.cuts) {
    say({ cut });
    writeFileSync(image, disk.cut(cut, chance(options.seed + cut)));
    run('mount', '-o', 'loop', image, dir);
    try {
      say(await look(cut, history, join(dir, 'data')));
    } finally {
      run('umount', dir);
    }
  }
}

async function look(cut: number, history: History, dataDir: string): Promise<Cut> {
  const problems: string[] = [];
  const promised = history.commits.findLastIndex(([entries]) => entries <= cut);
  const happened = (list: readonly Happened[]) => list.filter(([entries]) => entries <= cut);
  const acknowledged = happened(history.acknowledged);
  const delivered = new Set(happened(history.delivered).map(nameOf));
  const known = new Set([...acknowledged, ...happened(history.sent)].map(nameOf));

  const found = await booksFound(history, dataDir, problems);
  const rig = await SpoolRig.open({ ...STANDARD, ...history.settings, dataDir });
  for (const { level, msg } of rig.log) if (level >= 50) problems.push(`logged: ${msg}`);

  const there = new Set<string>();
  const before = new Map<number, number>();
  for (const { lane, seq, epoch, message } of rig.take()) {
    if (seq <= (before.get(lane) ?? 0)) problems.push(`lane ${lane}: number ${seq} after ${before.get(lane)}`);
    before.set(lane, seq);
    there.add(nameOf([0, lane, seq, epoch]));
    if (!message.body.equals(expectedBody(lane, seq)))
      problems.push(`number ${seq} of lane ${lane} says something else`);
  }
  const reports = rig.spool.lossesToReport();
  const missing: [number, number][] = [];
  for (const message of acknowledged) {
    const name = nameOf(message);
    if (!there.has(name) && !delivered.has(name) && !reported(reports, message)) missing.push([message[1], message[2]]);
  }

  const accepted = LANES_USED.map((lane) => rig.accept('after the cut', lane));
  const durable = Promise.all([...accepted, rig.spool.flush()]).then(
    () => true,
    () => false,
  );
  const goesOn = await Promise.race([durable, sleep(COMMIT_MS_MAX, false, { ref: false })]);
  if (!goesOn) problems.push(`takes no message: ${rig.spool.snapshot().fault}`);
  const { epoch } = rig.books();
  const reused: number[] = [];
  for (const stored of rig.take()) {
    if (known.has(nameOf([0, stored.lane, stored.seq, stored.epoch]))) reused.push(stored.lane);
    if (stored.epoch !== epoch) problems.push(`a message of epoch ${stored.epoch} in a spool of epoch ${epoch}`);
  }
  await rig.audit().catch((error: Error) => problems.push(error.message));
  await rig.close();
  return { cut, promised, found, missing, reused, problems };
}

/** Which commit's the books are, before anything has opened them for writing. */
async function booksFound(history: History, dataDir: string, problems: string[]): Promise<number | null> {
  if (!existsSync(join(dataDir, 'spool', 'data.mdb'))) return -1;
  try {
    const { state, complaints } = await lookAtSpool(dataDir, (reader, books) => ({
      state: stateOf(books),
      complaints: verify(reader, books).problems,
    }));
    problems.push(...complaints);
    const found = history.commits.findLastIndex((commit) => commit[1] === state);
    if (found !== -1) return found;
    problems.push(`books that no commit left: ${state}`);
  } catch (error) {
    // A file that was made and never committed to.
    if (history.commits.length === 0 || /no books|no store/.test((error as Error).message)) return -1;
    problems.push((error as Error).message);
  }
  return null;
}

const bodies = new Map<string, Buffer>();

/** {@link bodyOf}, which each cut asks for again. */
function expectedBody(lane: number, seq: number): Buffer {
  const name = `${lane}:${seq}`;
  const body = bodies.get(name) ?? bodyOf(lane, seq);
  bodies.set(name, body);
  return body;
}

/** What the upstream and everybody else knows a message by. */
function nameOf([, lane, seq, epoch]: Happened): string {
  return `${epoch}:${lane}:${seq}`;
}

function reported(reports: readonly Loss[], [, lane, seq, epoch]: Happened): boolean {
  return reports.some(
    (row) => row.epoch === epoch && row.lane === lane && row.firstSeq <= seq && seq <= row.lastSeq && row.count > 0,
  );
}

/** Straight to the pipe: what comes next may end this process. */
function say(line: object): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

await main(JSON.parse(process.argv[2]!) as CheckerOptions);
