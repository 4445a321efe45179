import { asDateTime } from '../datetime.ts';
import { Float, isArray, isRecord, typeName, ValueError, type DateTime, type Fields, type Value } from '../value.ts';

/*
 * How a function of single values is written down: what it takes, and what it makes of it. The compiler checks the number of arguments
 * and the types of constants when a query is loaded, and everything else as events come.
 */

/** Longest text that a function may make, in characters: a body is never as long. */
export const TEXT_MAX = 1_048_576;

export const DATE_PARTS = [
  'year',
  'quarter',
  'month',
  'dayofyear',
  'day',
  'week',
  'weekday',
  'hour',
  'minute',
  'second',
  'millisecond',
  'microsecond',
] as const;
export type DatePart = (typeof DATE_PARTS)[number];

/** What a parameter takes, and what the function gets for it. */
interface Kinds {
  number: number | bigint | Float;
  /** bigint, or a float that is cut off toward zero; as a double, which is near enough for positions and lengths. */
  whole: number;
  text: string;
  datetime: DateTime;
  /** The name of a date part; the parser has made it a literal. */
  part: DatePart;
  record: Fields;
  array: readonly Value[];
  value: Value;
}
export type Kind = keyof Kinds;

const TAKES: Record<Kind, string> = {
  number: 'bigint or float',
  whole: 'bigint or float',
  text: 'nvarchar(max)',
  datetime: 'datetime or ISO 8601 text',
  part: 'a date part such as second',
  record: 'record',
  array: 'array',
  value: 'any value',
};

export interface ScalarFunction {
  /** How it is called, for people: `ROUND(x, length)`. */
  readonly usage: string;
  readonly least: number;
  /** Infinity when the last parameter may be repeated. */
  readonly most: number;
  /** Of the parameters in turn; the last one's counts for all that follow. */
  readonly kinds: readonly Kind[];
  /** Whether it is asked also when an argument is NULL; else the result then is NULL. */
  readonly takesNull: boolean;
  /** Arguments as {@link argument} gave them. Throws ValueError. */
  readonly run: (...args: readonly unknown[]) => Value;
  /** What a constant text at this position is tried on when the query is loaded; throws ValueError. */
  readonly pattern?: { readonly position: number; readonly check: (text: string) => unknown };
}

type Taken<K extends readonly Kind[]> = { [Index in keyof K]: Kinds[K[Index]] };

/** A function with so many parameters; NULL for any of them makes NULL. */
export function scalar<const K extends readonly Kind[]>(
  usage: string,
  kinds: K,
  run: (...args: Taken<K>) => Value,
  least = kinds.length,
): ScalarFunction {
  return { usage, least, most: kinds.length, kinds, takesNull: false, run: run as ScalarFunction['run'] };
}

/** A function of so many values or more, NULL among them. */
export function variadic(usage: string, least: number, run: (...args: readonly Value[]) => Value): ScalarFunction {
  return { usage, least, most: Infinity, kinds: ['value'], takesNull: true, run: run as ScalarFunction['run'] };
}

/** A value as the function takes it. Throws ValueError when it is of another type. */
export function argument(kind: Kind, value: Value, usage: string, position: number): unknown {
  switch (kind) {
    case 'value':
      return value;
    case 'number':
      if (typeof value === 'number' || typeof value === 'bigint' || value instanceof Float) return value;
      break;
    case 'whole':
      if (typeof value === 'number') return Math.trunc(value);
      if (typeof value === 'bigint') return Number(value);
      if (value instanceof Float) return value.value;
      break;
    case 'text':
      if (typeof value === 'string') return value;
      break;
    case 'datetime': {
      const moment = asDateTime(value);
      if (moment !== null) return moment;
      break;
    }
    case 'part':
      if ((DATE_PARTS as readonly Value[]).includes(value)) return value;
      break;
    case 'record':
      if (isRecord(value)) return value;
      break;
    case 'array':
      if (isArray(value)) return value;
      break;
    default:
      kind satisfies never;
  }
  throw new ValueError(`argument ${position} of ${usage} is ${typeName(value)}, and must be ${TAKES[kind]}`);
}

/** The text, when it is not too long. */
export function boundedText(text: string): string {
  boundedLength(text.length);
  return text;
}

export function boundedLength(length: number): void {
  if (length > TEXT_MAX) throw new ValueError(`the text would have more than ${TEXT_MAX} characters`);
}
