import { compare } from '../compare.ts';
import { parseIso } from '../datetime.ts';
import { DateTime, isArray, isRecord, typeName, ValueError, type Value } from '../value.ts';
import { SMALL, sizeOf, type Accumulator } from './accumulator.ts';

/** Numbers and bits; moments (datetimes, and texts that are ISO); texts, those that are ISO too. */
type Sort = 'numbers' | 'moments' | 'texts';

/** The best of a run of values; those that may become it once earlier ones are taken back. */
class Best {
  readonly #sign: 1 | -1;
  readonly #removable: boolean;
  /** Each is better than those after it; all came in this order, and nothing better came after one of them. */
  #candidates: Value[] = [];

  constructor(sign: 1 | -1, removable: boolean) {
    this.#sign = sign;
    this.#removable = removable;
  }

  add(value: Value): void {
    const candidates = this.#candidates;
    if (!this.#removable) {
      if (candidates.length === 0 || this.#better(value, candidates[0]!)) candidates[0] = value;
      return;
    }
    while (candidates.length > 0 && this.#better(value, candidates.at(-1)!)) candidates.pop();
    candidates.push(value);
  }

  remove(value: Value): void {
    if (this.#candidates.length > 0 && compare(this.#candidates[0]!, value) === 0) this.#candidates.shift();
  }

  get value(): Value {
    return this.#candidates[0] ?? null;
  }

  get bytes(): number {
    return this.#candidates.length * (8 + (this.#candidates.length > 0 ? sizeOf(this.#candidates[0]!) : 0));
  }

  save(): Value {
    return [...this.#candidates];
  }

  load(saved: Value): void {
    this.#candidates = [...(saved as readonly Value[])];
  }

  #better(a: Value, b: Value): boolean {
    return compare(a, b) * this.#sign > 0;
  }
}

/**
 * MIN and MAX. Texts that all are ISO are moments, and the result then is a datetime; else they are ordered as text. Which of them it is
 * shows only in the end, so both are kept.
 */
export class Extreme implements Accumulator {
  readonly #best: Readonly<Record<Sort, Best>>;
  readonly #plainText: boolean;
  #numbers = 0;
  #datetimes = 0;
  #isoTexts = 0;
  #otherTexts = 0;

  /** `sign` is 1 for MAX; `plainText` when texts are not to be read as ISO. */
  constructor(sign: 1 | -1, plainText: boolean, removable: boolean) {
    this.#plainText = plainText;
    this.#best = {
      numbers: new Best(sign, removable),
      moments: new Best(sign, removable),
      texts: new Best(sign, removable),
    };
  }

  get bytes(): number {
    return SMALL + this.#best.numbers.bytes + this.#best.moments.bytes + this.#best.texts.bytes;
  }

  add([value]: readonly Value[]): void {
    this.#change(value!, 1);
  }

  remove([value]: readonly Value[]): void {
    this.#change(value!, -1);
  }

  result(): Value {
    const { numbers, moments, texts } = this.#best;
    const isMoments = this.#otherTexts === 0 && this.#datetimes + this.#isoTexts > 0;
    const isTexts = this.#otherTexts > 0 && this.#datetimes === 0;
    if (this.#numbers === 0) {
      if (isMoments) return moments.value;
      if (isTexts) return texts.value;
      if (this.#otherTexts === 0) return null;
      throw new ValueError('MIN and MAX of datetimes and of texts that are none');
    }
    if (isMoments || this.#otherTexts > 0) throw new ValueError('MIN and MAX of numbers and of texts or datetimes');
    return numbers.value;
  }

  save(): Value {
    const { numbers, moments, texts } = this.#best;
    const counts = [this.#numbers, this.#datetimes, this.#isoTexts, this.#otherTexts];
    return [...counts, numbers.save(), moments.save(), texts.save()];
  }

  load(saved: Value): void {
    const [numbers, datetimes, isoTexts, otherTexts, ...best] = saved as readonly [
      ...[number, number, number, number],
      ...[Value, Value, Value],
    ];
    this.#numbers = numbers;
    this.#datetimes = datetimes;
    this.#isoTexts = isoTexts;
    this.#otherTexts = otherTexts;
    this.#best.numbers.load(best[0]);
    this.#best.moments.load(best[1]);
    this.#best.texts.load(best[2]);
  }

  #change(value: Value, by: 1 | -1): void {
    if (value === null) return;
    if (typeof value === 'string') {
      this.#put('texts', value, by);
      const moment = this.#plainText ? null : parseIso(value);
      if (moment === null) {
        this.#otherTexts += by;
      } else {
        this.#isoTexts += by;
        this.#put('moments', moment, by);
      }
    } else if (value instanceof DateTime) {
      this.#datetimes += by;
      this.#put('moments', value, by);
    } else {
      this.#numbers += by;
      this.#put('numbers', value, by);
    }
  }

  #put(sort: Sort, value: Value, by: 1 | -1): void {
    if (by === 1) this.#best[sort].add(value);
    else this.#best[sort].remove(value);
  }
}

/** Throws ValueError for what has no order. */
export function checkOrdered(value: Value, name: string): void {
  if (isRecord(value) || isArray(value)) throw new ValueError(`${name} takes no ${typeName(value)}`);
}
