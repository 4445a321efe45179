import { type Answer, couldAnswer, findAnswer } from './pdu.ts';

/** No answer is expected after so many times the patience that a request had, or so long, ms: whichever is more. */
const PATIENCE_SHARE = 5;
const OVERDUE_MS_MIN = 3000;
/** An answer may come that much later than those before it, and a little more, ms. */
const REST_SHARE = 2;
const REST_MARGIN_MS = 100;
/** Rests in which nothing came, one after the other, until it is believed that nothing will come. */
const RESTS = 2;
/** Answers in time, one after the other, until it is forgotten that some came late. */
const PROMPT_MIN = 100;
/** A unit is quick whose answers take no more than this part of what they may, after so many of them in time. */
const QUICK_SHARE = 0.25;
const QUICK_MIN = 5;
/** What its answers took at the most is forgotten by this part with each. */
const SLOWEST_DECAY = 0.02;
/** One that does not come to rest is asked again after so many times the quiet that it was to keep. */
const RESTS_MAX = 4;
/** Requests that are kept in mind: with a second master on the line there is no end of them, and no device has so many to answer. */
const SENT_MAX = 64;

interface Sent {
  readonly pdu: Buffer;
  readonly at: number;
}

/**
 * What one unit has been asked and may still answer. An answer does not say which addresses it is of ("MODBUS over serial
 * line" knows no number of a transaction), only that it is of the same kind and length: one to an earlier request looks like
 * one to the last. Answers come in the order of the requests, late, doubled, or not at all. So an answer that could be to
 * something else counts for nothing; the unit is then left alone until it has been quiet for longer than it ever was late, and
 * asked again. All times are monotonic ms.
 */
export class Unanswered {
  #sent: Sent[] = [];
  /** When the first of a row of requests was sent that no answer can be told to be of. */
  #since = 0;
  #restMs = 0;
  #restFrom = 0;
  #quietSince = 0;
  /** The request whose answer could be to something else; null when it rests before it is asked. */
  #doubted: Buffer | null = null;
  /** Rests in which nothing came, one after the other. */
  #quietRests = 0;
  #heardAtRest = false;
  /** Answers in time, one after the other, and what they took at the most, ms. */
  #prompt = 0;
  #slowestMs = 0;
  /** When something came that could be an answer to something else. */
  #doubtedAt = -Infinity;
  /** How much later than they were asked for answers came, at the most, ms; 0 while none was late for certain. */
  lateMs = 0;
  #lateMsLately = 0;
  #timeoutMs = 0;

  /** A request had no answer in its time. */
  missed(pdu: Buffer, at: number, timeoutMs: number): void {
    this.#timeoutMs = timeoutMs;
    if (this.#sent.length === 0) this.#since = at;
    this.#keep({ pdu, at });
  }

  /** Whether an answer to `pdu`, sent `at`, is one to it. If not, the unit rests. */
  believes(pdu: Buffer, at: number, answer: Answer, now: number): boolean {
    this.#forgetOverdue(now);
    if (this.#others(pdu, (sent) => couldAnswer(answer, pdu, sent)).length > 0) {
      this.#keep({ pdu, at });
      this.#rest(pdu, now, now - at);
      return false;
    }
    const own = this.#sent.findIndex((sent) => sent.pdu.equals(pdu));
    if (own < 0) {
      this.#sent = [];
      this.#quietRests = 0;
      this.#slowestMs = Math.max(now - at, this.#slowestMs * (1 - SLOWEST_DECAY));
      if (++this.#prompt >= PROMPT_MIN) this.#lateMsLately = 0;
    } else {
      // Of the same addresses all the same: but as many answers may come as there were requests after the first.
      this.#sent.splice(0, own + 1);
      this.#since = this.#sent[0]?.at ?? at;
      this.#keep({ pdu, at });
    }
    return true;
  }

  /** Before a request to a unit that is known to be late: what is still to come is waited for, where it could be taken for the answer. */
  expect(pdu: Buffer, now: number): void {
    this.#forgetOverdue(now);
    if (this.resting || this.#lateMsLately === 0) return;
    if (this.#others(pdu, (sent) => couldAnswer(null, pdu, sent)).length > 0) this.#rest(null, now, Infinity);
  }

  get #overdueMs(): number {
    return Math.max(OVERDUE_MS_MIN, PATIENCE_SHARE * this.#timeoutMs);
  }

  get resting(): boolean {
    return this.#restMs > 0;
  }

  /** When a rest is over, if nothing more comes. */
  get restsUntil(): number {
    return Math.min(this.#quietSince + this.#restMs, this.#restFrom + this.#restMs * RESTS_MAX);
  }

  /** The rest is over: true when the unit was quiet in it, and what it says from now on is what it is asked. */
  rested(now: number): boolean {
    const quiet = now >= this.#quietSince + this.#restMs;
    this.#restMs = 0;
    if (!quiet) return false;
    // That nothing came says little: only then, and when the next answer has been doubted as well, is it taken for prompt.
    const sure = this.#heardAtRest || ++this.#quietRests >= RESTS;
    this.#sent = sure ? [] : this.#sent.filter(({ pdu }) => this.#doubted?.equals(pdu));
    this.#since = this.#sent[0]?.at ?? now;
    return true;
  }

  /** Looks for an answer of this unit in what came while none was waited for. Returns how many bytes follow the last one. */
  hear(bytes: Buffer, unit: number, now: number): number {
    let rest = bytes;
    for (const { pdu } of this.#sent) {
      for (let found = findAnswer(rest, unit, pdu); found !== undefined; found = findAnswer(rest, unit, pdu)) {
        rest = rest.subarray(rest.length - found.surplus);
        this.#heardLate(now);
      }
    }
    return rest.length;
  }

  /** What cannot come any more is forgotten. */
  #forgetOverdue(now: number): void {
    // One that answers one request after the other is the later the more it was asked.
    this.#sent = this.#sent.filter(({ at }) => now - Math.max(at, this.#doubtedAt) < this.#overdueMs);
  }

  #keep(sent: Sent): void {
    this.#sent.push(sent);
    if (this.#sent.length > SENT_MAX) this.#sent.shift();
  }

  #others(pdu: Buffer, alike: (sent: Buffer) => boolean): Sent[] {
    return this.#sent.filter((sent) => !sent.pdu.equals(pdu) && alike(sent.pdu));
  }

  #heardLate(now: number): void {
    this.lateMs = this.#lateMsLately = Math.max(this.#lateMsLately, now - this.#since);
    this.#prompt = 0;
    this.#quietRests = 0;
    this.#heardAtRest = true;
    this.#quietSince = this.#doubtedAt = now;
    if (this.resting) this.#restMs = this.#overdueMs;
  }

  #rest(doubted: Buffer | null, now: number, tookMs: number): void {
    this.#doubted = doubted;
    this.#heardAtRest = false;
    this.#quietSince = this.#restFrom = this.#doubtedAt = now;
    const lateMs = now - this.#since;
    // One that was away for so long is no later now than its requests were apart.
    const expectedMs = (lateMs < this.#overdueMs ? lateMs : this.#apartMs()) * REST_SHARE;
    const quick = this.#lateMsLately === 0 && this.#isQuick && tookMs <= this.#slowestMs * REST_SHARE;
    const wanted = quick ? Math.max(expectedMs, this.#timeoutMs) + REST_MARGIN_MS : this.#overdueMs;
    this.#restMs = Math.min(wanted, this.#overdueMs);
  }

  /** An answer that takes as long as all before took is hardly a late one to something else. */
  get #isQuick(): boolean {
    return this.#prompt >= QUICK_MIN && this.#slowestMs <= this.#timeoutMs * QUICK_SHARE;
  }

  /** The longest time between two of the requests. */
  #apartMs(): number {
    return this.#sent.reduce((most, { at }, n) => Math.max(most, at - (this.#sent[n - 1]?.at ?? at)), 0);
  }
}
