import type { Logger } from 'pino';
import { bytesWrittenBelow } from '../board/block-device.ts';
import type { AgeClock } from '../clock/age.ts';
import type { Clock } from '../clock/clock.ts';
import type { Message } from '../message/message.ts';
import type { Reader } from '../store/environment.ts';
import type { StoreError } from '../store/store-error.ts';
import { Accompaniment } from './accompaniment.ts';
import { Amendments } from './amendments.ts';
import type { BlockHeader } from './block.ts';
import type { Books } from './books.ts';
import type { BootTable } from './boot-table.ts';
import { Committer } from './committer.ts';
import { Compaction } from './compaction.ts';
import { Door } from './door.ts';
import { DeadLetters } from './dead-letters.ts';
import { Evictor } from './evictor.ts';
import { Expirer } from './expirer.ts';
import { Indexing } from './indexing.ts';
import { Lane, type ReadingParts } from './lane.ts';
import { Bookkeeper } from './bookkeeper.ts';
import type { Medium } from './late-environment.ts';
import type { Losses } from './losses.ts';
import { Merger } from './merger.ts';
import { Pruning } from './pruning.ts';
import { Quarantine } from './quarantine.ts';
import type { Quota } from './quota.ts';
import { Room } from './room.ts';
import { lifeMsOf, whenFullOf, type SpoolSettings } from './settings.ts';
import { WearMeter } from './wear.ts';

export interface PartsOptions {
  readonly environment: Medium;
  readonly books: Books;
  readonly losses: Losses;
  readonly quota: Quota;
  readonly clock: Clock;
  readonly log: Logger;
  readonly age: AgeClock;
  readonly boots: BootTable;
  /** As they are now. */
  readonly settings: () => SpoolSettings;
  /** The upstream takes messages. */
  readonly sending: () => boolean;
  /** The file is damaged, and trying again does not help. */
  readonly onDamaged: (fault: StoreError) => void;
  /** There may be more to send, without a commit. */
  readonly onMore: () => void;
}

export interface SpoolParts {
  readonly bookkeeper: Bookkeeper;
  readonly lanes: readonly Lane[];
  readonly wear: WearMeter;
  readonly room: Room;
  readonly committer: Committer;
  readonly compaction: Compaction;
  readonly door: Door;
  readonly expirer: Expirer;
  readonly indexing: Indexing;
  readonly deadLetters: DeadLetters;
  readonly amendments: Amendments;
  readonly accompaniment: Accompaniment;
  /** What a lane asks of others while it reads. */
  readonly reading: (lane: Lane) => ReadingParts;
}

/** The parts of a spool, connected: none of them knows more of the others than it is given here. */
export function spoolParts(options: PartsOptions): SpoolParts {
  const { environment, books, losses, quota, clock, log, age, boots, settings, sending } = options;
  const { pageBytes } = environment;
  const read = <T>(look: (reader: Reader) => T): T => environment.read(look);
  const lifeMs = (message: Message) => lifeMsOf(settings(), message);
  const amendments = new Amendments();
  const bookkeeper = new Bookkeeper(books.ledger, books.lanes, books.children);
  const sendsUnwritten = books.write === 'when-needed';
  const isKept = (key: Buffer) => read((reader) => reader.get(key)) !== null;
  const accompaniment = new Accompaniment(clock, sendsUnwritten, (soon) => committer.accompany(soon), isKept);
  const maySendUnwritten = (held: boolean) => committer.maySendUnwritten && (!held || committer.givesUpWaiting);
  const waiting = (lane: number, seq: number) => committer.waiting(lane, seq);
  const earliest = ({ earliestExpiry, firstAge }: BlockHeader) =>
    Math.min(earliestExpiry, firstAge + settings().timeToLiveSecs * 1000);
  const laneParts = { amendments, pageBytes, sendsUnwritten, maySendUnwritten, waiting, lifeMs, earliest };
  const lanes = books.lanes.map((lane, number) => new Lane({ number, books: lane, ...laneParts }));
  const device = () => bytesWrittenBelow(settings().dataDir);
  const wear = new WearMeter(clock, device, settings().wearBudget ?? null);
  const pruning = new Pruning({
    bookkeeper,
    losses,
    pageBytes,
    log,
    lifeMs,
    epoch: () => books.epoch,
    pending: (lane) => books.lanes[lane]!.pending,
    timeOf: (accepted) => boots.timeOf(accepted),
  });
  const expirer = new Expirer({
    lanes,
    pruning,
    pageBytes,
    read,
    age: () => age.now(),
    lifeMs,
    earliest,
  });
  const indexing = new Indexing({ lanes, amendments, pageBytes, read, earliest, clock, log });
  const evictor = new Evictor({
    lanes,
    pruning,
    pageBytes,
    read,
    whenFull: (lane) => whenFullOf(settings(), lane),
    knownTo: (lane) => indexing.knownTo(lane),
  });
  const pagesLeft = () => quota.targetBytes(clock.monotonic()) / pageBytes - read((reader) => reader.livePages().live);
  const deadLetters = new DeadLetters({ books, bookkeeper, amendments, pageBytes, read, pagesLeft, clock, log });
  const merger = new Merger({ lanes, pruning, read, worthIt: () => !sending() && wear.atEase });
  const room = new Room({
    environment,
    amendments,
    evictor,
    quota,
    wear,
    clock,
    log,
    onFull: () => deadLetters.makeRoom(),
    dropQuarantine: () => new Quarantine(settings().dataDir).remove(),
    exclusively: (act) => committer.exclusively(act),
  });
  const committer = new Committer({
    environment,
    books,
    losses,
    lanes,
    amendments,
    accompaniment,
    room,
    age,
    boots,
    wear,
    clock,
    log,
    commitEveryMs: () => settings().commitEveryMs,
    onWritten: (block) => merger.written(block),
    onDamaged: options.onDamaged,
    onMore: options.onMore,
  });
  const compaction = new Compaction({ environment, books, quota, room, committer, clock, log });
  const door = new Door({ books, bookkeeper, losses, lanes, committer, room, wear, settings, sending, log });
  const reading = (lane: Lane): ReadingParts => ({
    read,
    lost: (block) => {
      pruning.lost(lane, block);
      committer.touchNow();
    },
    alive: (placed, header, messages) => {
      const left = expirer.alive(lane, placed, header, messages);
      if (left.length < messages.length) committer.touchSoon();
      return left;
    },
    lapsed: (stored) => {
      const lapsed = expirer.lapsed(lane, stored);
      if (lapsed) committer.touchSoon();
      return lapsed;
    },
  });
  const readings = lanes.map(reading);
  return {
    bookkeeper,
    lanes,
    wear,
    room,
    committer,
    compaction,
    door,
    expirer,
    indexing,
    deadLetters,
    amendments,
    accompaniment,
    reading: (lane) => readings[lane.number]!,
  };
}
