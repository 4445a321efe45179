import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../clock/clock.ts';
import { readJson } from '../message/json.ts';

/** Methods that are waited for at once. */
const WAITING_MAX = 1000;

/** How a method ended; `status` follows HTTP's numbers. */
export interface MethodResult {
  readonly status: number;
  readonly payload: unknown;
  /** The client gave no answer: this one is ours. */
  readonly failed?: true;
}

interface Question {
  readonly of: string;
  readonly timer: Timer;
  readonly answer: (result: MethodResult) => void;
}

/** Methods that clients have been asked for and have not answered. */
export class Questions {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Question>();
  // An answer to a question of an earlier life of the gateway is none to one of this.
  readonly #prefix = randomBytes(4).toString('hex');
  #count = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks `who` by `put`, which is given the request's id and says what is wrong if it cannot. Never rejects. */
  ask(who: string, timeoutSecs: number, put: (rid: string) => MethodResult | null): Promise<MethodResult> {
    if (this.#waiting.size >= WAITING_MAX) return Promise.resolve(failure(503, 'too many methods are waited for'));
    const rid = `${this.#prefix}${(++this.#count).toString(16)}`;
    return new Promise((resolve) => {
      const answer = (result: MethodResult) => {
        this.#waiting.get(rid)?.timer.cancel();
        this.#waiting.delete(rid);
        resolve(result);
      };
      const late = () => answer(failure(504, `no answer within ${timeoutSecs} s`));
      this.#waiting.set(rid, { of: who, timer: this.#clock.after(timeoutSecs * 1000, late), answer });
      const wrong = put(rid);
      if (wrong !== null) answer(wrong);
    });
  }

  /** False: nobody asked `who` that. */
  answered(who: string, rid: string, status: number, body: Buffer): boolean {
    const question = this.#waiting.get(rid);
    if (question?.of !== who) return false;
    question.answer({ status, payload: payloadOf(body) });
    return true;
  }

  /** Nobody will answer any more. */
  end(): void {
    for (const { answer } of this.#waiting.values()) answer(failure(504, 'the gateway stops'));
  }
}

export function failure(status: number, error: string): MethodResult {
  return { status, payload: { error }, failed: true };
}

/** JSON, or as it is when it is none that can be read. */
function payloadOf(body: Buffer): unknown {
  if (body.length === 0) return null;
  const text = body.toString('utf8');
  try {
    return readJson(text);
  } catch {
    return text;
  }
}
