import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { LossRow } from '../../src/message/loss.ts';
import { LANES, type Message, type Stored } from '../../src/message/message.ts';
import { whenFullOf, type SpoolSettings } from '../../src/spool/settings.ts';
import { SpoolFull } from '../../src/spool/spool.ts';
import { ManualClock } from '../manual-clock.ts';
import { scratch } from './scratch.ts';
import { LaneModel, type Circumstances, type Known } from './spool-model-lane.ts';
import { bytesUnder, idle, lookAt, Medium, SoundCheck, type Seen } from './spool-model-medium.ts';
import { emptyTally, type Away, type ModelSettings, type Tally } from './spool-model-settings.ts';
import type { Happening, Step } from './spool-model-steps.ts';
import { noise, SpoolRig } from './spool-rig.ts';

/** Numbers that a new epoch leaves out. */
const EPOCH_GAP = 2 ** 20;
/** From so many waiting bytes on memory is full. */
const SHEDS_FROM_BYTES = 16 * 2 ** 20;
/** Memory for what the medium does not take, bytes, with the largest block that may be on top. */
const WAITING_BYTES_MAX = 17 * 2 ** 20;
/** Longest that a sender waits for a medium that takes what it is given, ms. */
const PATIENCE_MS = 2000;
/** A commit that failed is tried again after so long, ms. */
const RETRY_MS = 1000;
const SWEEP_MS = 10_000;
const CHILDREN = ['press', 'oven', 'pump'];

/**
 * What a spool must do, kept beside a real one: every message comes out once in the order of its lane, what has gone had a
 * reason to and is in a loss report, nothing promised is missing after a crash, and the account is even after every step.
 */
export class SpoolModel {
  readonly tally: Tally;
  #rig: SpoolRig;
  #clock: ManualClock;
  #medium: Medium;
  readonly #sound = new SoundCheck();
  #settings: ModelSettings;
  readonly #lanes = Array.from({ length: LANES }, (_, lane) => new LaneModel(lane));
  #epoch = 1;
  #flight: { readonly stored: Stored; readonly known: Known }[] = [];
  #letters: Known[] = [];
  /** Of those that were, so many have been let go. */
  #discarded = 0;
  readonly #revivedOf: number[] = Array.from({ length: LANES }, () => 0);
  /** Loss reports that were acknowledged, by their ids. */
  readonly #acknowledged = new Map<string, LossRow>();
  /** What each number was used for, also those that nobody remembers. */
  readonly #used = new Map<string, string>();
  #tag = 0;
  #refusing = false;
  #shed = false;
  #generation = 0;
  #refusals = 0;
  #wallJumped = false;
  #fileMax: number;
  /** The file is larger than a lowered quota would have it. */
  #lowered = false;
  #before: Seen | null = null;

  private constructor(rig: SpoolRig, clock: ManualClock, settings: ModelSettings, tally: Tally) {
    this.#rig = rig;
    this.#clock = clock;
    this.#settings = settings;
    this.#medium = new Medium(rig.spool.environment);
    this.#fileMax = settings.quota.bytes;
    this.tally = tally;
  }

  static async start(settings: ModelSettings, tally: Tally = emptyTally()): Promise<SpoolModel> {
    const clock = new ManualClock();
    const { roomy: _, lanes = {}, ...given } = settings;
    return new SpoolModel(await SpoolRig.open({ ...given, lanes, clock }), clock, settings, tally);
  }

  async step({ look, ...happening }: Step): Promise<void> {
    await this.#happen(happening);
    await idle(this.#rig.spool);
    this.#bounds();
    if (look && !this.#refusing) await this.#look();
    else this.#sound.run(this.#rig);
  }

  /** Takes and delivers what is left, and draws up the account. */
  async end(): Promise<void> {
    await this.#heal();
    await this.#look();
    this.#rewind();
    for (;;) {
      this.#take(Infinity);
      if (this.#flight.length === 0) break;
      this.#settle(Infinity, 0);
      await this.#look();
    }
    if (this.#letters.length > 0) await this.#letGo('drop', false);
    await this.#look();
    const { pending, letters, blocks } = this.#before!;
    assert.equal(letters.length, 0);
    assert.equal(sum(pending.map(({ size }) => size)), 0, 'something is left that does not come out');
    assert.equal(sum(blocks.map(({ length }) => length)), 0, 'a block is left');
    await idle(this.#rig.spool);
    const { fileBytes, quotaBytes } = this.#rig.spool.snapshot();
    assert.ok(fileBytes <= quotaBytes, `an empty file has ${fileBytes} bytes, the quota is ${quotaBytes}`);
    await this.#leave();
  }

  /** After a failed check: the folder goes, and is not held open. */
  async abandon(): Promise<void> {
    this.#medium.heal();
    await this.#leave();
  }

  async #leave(): Promise<void> {
    await this.#rig.close();
    rmSync(dirname(this.#rig.dataDir), { recursive: true, force: true });
  }

  async #happen(step: Happening): Promise<void> {
    switch (step.do) {
      case 'accept':
        return this.#accept(step);
      case 'relay':
        await this.#accept({ ...step, do: 'accept', kind: 'json', wait: true, lifeSecs: null }, false);
        this.#take(Infinity);
        return this.#settle(Infinity, step.dead ? 3 : 0);
      case 'trickle':
        this.#rewind();
        for (let n = 0; n < step.count; n++) {
          await this.#accept({ ...step, do: 'accept', count: 1, kind: 'json', wait: false, lifeSecs: null });
          if (!this.#refusing) await this.#rig.spool.flush();
        }
        return;
      case 'take':
        return this.#take(step.count);
      case 'settle':
        return this.#settle(step.count, step.deadEvery);
      case 'report':
        return this.#report(step.acknowledged);
      case 'rewind':
        return this.#rewind();
      case 'pass':
        return this.#pass(step.ms);
      case 'wall':
        this.#wallJumped = true;
        return this.#clock.setWall(this.#clock.wall() + step.ms);
      case 'configure':
        return this.#configure(step.change);
      case 'letters':
        return this.#letGo(step.act, step.half);
      case 'refuse':
        this.#refusing = true;
        return this.#medium.refuse(step.fault);
      case 'heal':
        return this.#heal();
      case 'restart':
        await this.#heal();
        await this.#look();
        return this.#open(() => this.#rig.close(), step.away, this.#rig.dataDir);
      case 'crash':
        return this.#crash(step.away);
    }
  }

  /** `until`: where senders wait, until they have been told; else they go on waiting. */
  async #accept(step: Extract<Happening, { do: 'accept' }>, until = step.wait): Promise<void> {
    const { spool } = this.#rig;
    const lane = this.#lanes[step.lane]!;
    const waits: Promise<void>[] = [];
    for (let n = 0; n < step.count; n++) {
      const number = ++this.#tag;
      const { body, tag, value } = bodyOf(number, step.kind, step.bytes);
      const message: Message = {
        ...this.#rig.message(body, step.lane),
        source: { child: CHILDREN[number % CHILDREN.length]! },
        ...(step.lifeSecs === null ? {} : { expiresAfterSecs: step.lifeSecs }),
      };
      const waiting = spool.snapshot().waitingBytes;
      const accepted = spool.accept(message, step.wait);
      if (await refusedAtOnce(accepted)) {
        this.#refused(step.lane);
        continue;
      }
      if (waiting > SHEDS_FROM_BYTES) this.#shed = true;
      const { age } = message.acceptedAt;
      const lifeMs = step.lifeSecs === null ? null : step.lifeSecs * 1000;
      const known = lane.add({
        epoch: this.#epoch,
        tag,
        value,
        age,
        lifeMs,
        revived: false,
        child: message.source.child,
      });
      const generation = this.#generation;
      const told = accepted.then(() => {
        if (generation === this.#generation && step.wait) known.promised = true;
      });
      told.catch(() => undefined);
      waits.push(told);
    }
    if (!until || this.#refusing) return;
    let told = false;
    void Promise.all(waits).then(() => (told = true));
    for (let ms = 0; !told; ms += 5) {
      assert.ok(ms < PATIENCE_MS, 'a sender waits, and nobody tells it anything');
      await this.#clock.flow(5);
      await idle(spool);
    }
  }

  #refused(lane: number): void {
    this.tally.refused++;
    this.#refusals++;
    if (this.#refusing || this.#shed) return;
    assert.notEqual(this.#settings.roomy, true, 'a message was refused, and there is room');
    const whenFull = whenFullOf(this.#all(), lane);
    assert.ok(
      whenFull === 'reject-new' || this.#rig.spool.snapshot().full,
      `lane ${lane} refuses, and is to ${whenFull}`,
    );
  }

  #take(count: number): void {
    const { age } = this.#rig.spool.snapshot();
    for (let n = 0; n < count; n++) {
      const stored = this.#rig.spool.next();
      if (stored === null) break;
      const lane = this.#lanes[stored.lane]!;
      const known = lane.of(stored);
      assert.equal(known.fate, 'pending', `number ${stored.seq} of lane ${stored.lane} comes, and was ${known.fate}`);
      this.#use(known, stored.lane);
      lane.handOut(stored.seq);
      // What is read already, or goes unwritten, is not looked at again; all else is as it is read.
      const over = age - lane.expiry(known, this.#settings.timeToLiveSecs * 1000);
      if (stored.seq > lane.pinnedTo && this.#settings.write === 'always') {
        assert.ok(over < 0, `number ${stored.seq} of lane ${stored.lane} comes ${over} ms after its time`);
      }
      this.#flight.push({ stored, known });
    }
  }

  /** No number is ever used for two messages: a receiver would take the second for a repetition. */
  #use({ epoch, seq, tag }: Known, lane: number): void {
    const name = `${epoch}/${lane}/${seq}`;
    assert.equal(this.#used.get(name) ?? tag, tag, `${name} is used again`);
    this.#used.set(name, tag);
  }

  #settle(count: number, deadEvery: number): void {
    const settled = this.#flight.splice(0, count);
    settled.forEach(({ stored, known }, n) => {
      if (deadEvery > 0 && n % deadEvery === deadEvery - 1) {
        this.#rig.spool.deadLetter(stored, 'refused');
        known.fate = 'dead';
        this.#letters.push(known);
      } else {
        this.#rig.spool.delivered(stored, true);
        known.fate = 'delivered';
      }
    });
  }

  async #report(acknowledged: boolean): Promise<void> {
    const { spool } = this.#rig;
    const rows = spool.lossesToReport();
    // A medium that takes nothing holds nothing up; but then a crash may bring a report back, with more in it.
    if (!acknowledged || this.#refusing) return;
    await spool.flush();
    assert.ok(spool.lossesDurable, 'losses cannot be reported, and all is on the medium');
    for (const row of rows) this.#acknowledged.set(row.id, row);
    spool.lossesReported(rows);
  }

  #rewind(): void {
    this.#rig.spool.rewind();
    this.#flight = [];
    for (const lane of this.#lanes) lane.rewind();
  }

  async #pass(ms: number): Promise<void> {
    const { spool } = this.#rig;
    const { age } = spool.snapshot();
    await this.#clock.flow(ms);
    for (let sweeps = 0; sweeps < 4 && ms >= SWEEP_MS; sweeps++) {
      await idle(spool);
      await this.#clock.flow(SWEEP_MS);
    }
    const passed = ms + (ms >= SWEEP_MS ? 4 * SWEEP_MS : 0);
    assert.ok(Math.abs(spool.snapshot().age - age - passed) < 1, 'age does not run as time does');
    await idle(spool);
    if (ms >= SWEEP_MS && !this.#refusing) await this.#look(true);
  }

  async #configure(change: Partial<ModelSettings>): Promise<void> {
    if (this.#refusing) return;
    await this.#look();
    this.#settings = { ...this.#settings, ...change };
    this.#rig.spool.configure(this.#all());
    const { fileBytes } = this.#rig.spool.snapshot();
    // A file does not shrink while there is something in it; it must not grow any more either.
    this.#fileMax = Math.max(this.#settings.quota.bytes, fileBytes);
    this.#lowered = true;
    await this.#clock.flow(100);
    await this.#look();
  }

  #all(): SpoolSettings {
    const { roomy: _, lanes = {}, ...settings } = this.#settings;
    const { dataDir } = this.#rig;
    return {
      keepFree: { bytes: 0 },
      durability: 'strict',
      commitEveryMs: 20,
      prefill: false,
      dataDir,
      lanes,
      ...settings,
    };
  }

  async #letGo(act: 'retry' | 'drop', half: boolean): Promise<void> {
    if (this.#refusing) return;
    await this.#look();
    const { spool } = this.#rig;
    const all = spool.deadLetters;
    const chosen = all.slice(0, half ? Math.ceil(all.length / 2) : all.length);
    const numbers = half ? new Set(chosen.map(({ number }) => number)) : undefined;
    if (act === 'drop') {
      assert.equal(await spool.dropDeadLetters(numbers), chosen.length);
      return this.#look();
    }
    const letters = this.#letters.splice(0, chosen.length);
    const { age } = spool.snapshot();
    for (const [at, letter] of letters.entries()) {
      const lane = chosen[at]!.stored.lane;
      this.#revivedOf[lane]!++;
      this.#lanes[lane]!.add({ ...letter, epoch: this.#epoch, age, revived: true });
      this.tally.revived++;
    }
    assert.equal(await spool.retryDeadLetters(numbers), letters.length);
    return this.#look();
  }

  /** The medium takes writes again, and nobody needs to tell the spool. */
  async #heal(): Promise<void> {
    this.#medium.heal();
    for (let tries = 0; this.#rig.spool.snapshot().fault !== null; tries++) {
      assert.ok(tries < 5, 'the medium takes writes, and the spool does not ask it');
      await this.#clock.flow(RETRY_MS);
      await idle(this.#rig.spool);
    }
    this.#refusing = false;
  }

  async #crash(away: Away): Promise<void> {
    this.tally.crashes++;
    await idle(this.#rig.spool);
    const { spool, dataDir } = this.#rig;
    const seen = lookAt(spool.environment);
    const copy = join(scratch(), 'data');
    cpSync(dataDir, copy, { recursive: true });
    this.#generation++;
    for (const lane of this.#lanes) {
      for (const known of lane.crashed(seen)) {
        if (known.fate === 'delivered') this.tally.unwritten++;
      }
      const { number } = lane;
      this.#revivedOf[number] = [...lane.known.values()].filter(({ revived }) => revived).length;
    }
    this.#lettersLeft(seen, 'crash');
    for (const { id, ...row } of seen.rows) {
      const before = this.#acknowledged.get(id);
      if (before === undefined) continue;
      assert.deepEqual(
        { ...row, sent: true, id },
        { ...before, sent: true },
        'a loss report comes again, with other words',
      );
      this.#acknowledged.delete(id);
    }
    const leave = async () => {
      this.#medium.heal();
      await this.#rig.close();
      rmSync(dirname(dataDir), { recursive: true, force: true });
    };
    this.#refusals = seen.books.ledger.refused.rejected ?? 0;
    await this.#open(leave, away, copy);
    if (this.#settings.write === 'when-needed') this.#newEpoch(seen);
    this.#refusing = false;
    await this.#look();
  }

  /** Another process begins. What it knows is what the medium says, and that must be enough. */
  async #open(leave: () => Promise<void>, { ms, reboot }: Away, dataDir: string): Promise<void> {
    const { age } = this.#rig.spool.snapshot();
    const known = !this.#refusing && !(reboot && this.#wallJumped);
    await leave();
    this.#flight = [];
    for (const lane of this.#lanes) lane.rewind();
    if (reboot) {
      const wall = this.#clock.wall() + ms;
      this.#clock = new ManualClock({ wall, monotonic: 10_000, bootId: `${this.#clock.bootId}+` });
    } else this.#clock.advance(ms);
    this.#rig = await SpoolRig.open({ ...this.#all(), clock: this.#clock, dataDir });
    this.#medium = new Medium(this.#rig.spool.environment);
    const now = this.#rig.spool.snapshot().age;
    this.#wallJumped = false;
    if (known) assert.ok(Math.abs(now - age - ms) < 1, `age was ${age}, ${ms} ms passed, it is ${now}`);
  }

  #newEpoch({ books }: Seen): void {
    const { rows } = lookAt(this.#rig.spool.environment);
    for (const lane of this.#lanes) {
      const { nextSeq, accepted } = books.lanes[lane.number]!;
      if (nextSeq === 1 && accepted === 0) continue;
      lane.nextSeq += EPOCH_GAP;
      assert.ok(
        rows.some((row) => row.reason === 'unclean-stop' && row.lane === lane.number && row.lastSeq >= nextSeq - 1),
        `lane ${lane.number} begins a new epoch, and no loss report says so`,
      );
    }
    this.#epoch++;
    this.tally.epochs++;
  }

  /** Dead letters that are not on the medium: after a crash they wait again, else they have made room and are counted. */
  #lettersLeft({ letters, books }: Seen, when: 'crash' | 'look'): void {
    const left = new Set(letters.map(({ lane, seq, epoch }) => `${epoch}/${lane}/${seq}`));
    const laneOf = new Map(
      this.#lanes.flatMap((lane) => [...lane.known.values()].map((known) => [known, lane.number])),
    );
    let discarded = 0;
    this.#letters = this.#letters.filter((letter) => {
      if (left.delete(`${letter.epoch}/${laneOf.get(letter)}/${letter.seq}`)) return true;
      if (laneOf.has(letter) && letter.fate === 'dead') discarded++;
      else assert.equal(when, 'crash', `dead letter ${letter.tag} is missing`);
      return false;
    });
    assert.equal(left.size, 0, 'there are dead letters that nobody knows of');
    const more = (books.ledger.dropped.discarded ?? 0) - this.#discarded;
    assert.equal(discarded, more, 'dead letters are missing');
    this.#discarded += more;
  }

  /** Makes everything durable and holds it against the model. */
  async #look(swept = false): Promise<void> {
    const { spool } = this.#rig;
    await spool.flush();
    const seen = lookAt(spool.environment);
    const { ledger, lanes, epoch } = seen.books;
    assert.equal(epoch, this.#epoch);
    const { age, pending } = spool.snapshot();
    const flight = new Set(this.#flight.map(({ stored }) => `${stored.lane}/${stored.seq}`));
    const rows = [...this.#acknowledged.values(), ...seen.rows];
    let higher = -1;
    for (const lane of this.#lanes) {
      const whenFull = whenFullOf(this.#all(), lane.number);
      const commonLifeMs = this.#settings.timeToLiveSecs * 1000;
      const now: Circumstances = { age, commonLifeMs, whenFull, swept, shed: this.#shed };
      const ours = new Set(
        [...flight].filter((name) => name.startsWith(`${lane.number}/`)).map((name) => Number(name.split('/')[1])),
      );
      const { gone, forRoom, older } = lane.look(seen, now, ours);
      lane.reported(gone, rows);
      lane.account(lanes[lane.number]!, this.#revivedOf[lane.number]!);
      if (this.#settings.roomy === true && !this.#shed) assert.equal(forRoom.length, 0, 'some went, and there is room');
      if (older && whenFull !== 'reject-new' && !this.#shed) {
        assert.equal(higher, -1, `lane ${higher} had to make room, and lane ${lane.number} holds some still`);
      }
      if (forRoom.length > 0) higher = lane.number;
      if (this.#shed) this.tally.shed += forRoom.length;
    }
    this.#lettersLeft(seen, 'look');
    this.#reports(rows, seen);
    assert.equal(ledger.refused.rejected ?? 0, this.#refusals, 'refused at the door');
    assert.equal(pending, sum(seen.pending.map(({ size }) => size)), 'pending, as it is shown');
    this.tally.expired = Math.max(this.tally.expired, ledger.dropped.expired ?? 0);
    this.tally.evicted = Math.max(this.tally.evicted, ledger.dropped.evicted ?? 0);
    this.tally.thinned = Math.max(this.tally.thinned, ledger.dropped.thinned ?? 0);
    this.#merges(seen);
    this.#shed = false;
    this.#before = seen;
  }

  /** What went is reported, each once: the counts of all reports of a lane and a reason are what its account says. */
  #reports(rows: readonly LossRow[], { books }: Seen): void {
    const counts = new Map<string, number>();
    for (const { lane, reason, count } of rows)
      counts.set(`${lane} ${reason}`, (counts.get(`${lane} ${reason}`) ?? 0) + count);
    books.lanes.forEach(({ dropped, deadLetters }, lane) => {
      const { discarded = 0, ...others } = dropped;
      const dead = deadLetters + discarded + this.#revivedOf[lane]!;
      for (const [reason, count] of Object.entries({ ...others, 'dead-letter': dead })) {
        assert.equal(counts.get(`${lane} ${reason}`) ?? 0, count, `reports of lane ${lane}: ${reason}`);
      }
    });
  }

  #merges({ blocks }: Seen): void {
    blocks.forEach((now, lane) => {
      const firsts = new Set(now.map(({ firstSeq }) => firstSeq));
      for (const { firstSeq } of this.#before?.blocks[lane] ?? []) {
        if (firsts.has(firstSeq)) continue;
        if (now.some((block) => block.level === 0 && block.firstSeq < firstSeq && firstSeq <= block.lastSeq))
          this.tally.merged++;
      }
    });
  }

  #bounds(): void {
    const { fileBytes, quotaBytes, livePages, freePages, pageBytes, waitingBytes, pending, age, fault, filling } =
      this.#rig.spool.snapshot();
    assert.equal(quotaBytes, this.#settings.quota.bytes);
    assert.ok(fileBytes <= this.#fileMax, `the file has ${fileBytes} bytes, ${this.#fileMax} are allowed`);
    if (fileBytes <= quotaBytes) this.#fileMax = quotaBytes;
    if (fileBytes <= filling.targetBytes) this.#lowered = false;
    if (!this.#lowered) {
      const bytes = bytesUnder(this.#rig.dataDir);
      assert.ok(bytes <= quotaBytes, `there are ${bytes} bytes under the data directory, the quota is ${quotaBytes}`);
    }
    assert.ok(
      (livePages + freePages) * pageBytes <= fileBytes,
      `${livePages} + ${freePages} pages in ${fileBytes} bytes`,
    );
    assert.ok(waitingBytes >= 0 && waitingBytes <= WAITING_BYTES_MAX, `${waitingBytes} bytes wait`);
    assert.ok(pending >= 0 && age >= 0 && filling.targetBytes <= quotaBytes);
    if (!this.#refusing) assert.equal(fault, null);
  }
}

function bodyOf(
  number: number,
  kind: 'noise' | 'json',
  bytes: number,
): { body: Buffer; tag: string; value: number | null } {
  if (kind === 'noise') {
    const tag = `${number}:`;
    return { body: Buffer.concat([Buffer.from(tag), noise(bytes)]), tag, value: null };
  }
  const tag = `{"n":${number},`;
  const value = ((number * 7919) % 1009) - 500;
  const pad = noise(Math.floor(Math.min(bytes, 4000) / 2)).toString('hex');
  return { body: Buffer.from(`${tag}"celsius":${value},"pad":"${pad}"}`), tag, value };
}

/** Refusal needs no medium, so it is known as soon as promises have had their turn; timers and I/O have not by then. */
async function refusedAtOnce(accepted: Promise<void>): Promise<boolean> {
  let refused = false;
  accepted.catch((error: unknown) => {
    refused = error instanceof SpoolFull;
  });
  await Promise.resolve();
  await Promise.resolve();
  return refused;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
