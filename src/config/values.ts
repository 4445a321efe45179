import * as z from 'zod';
import { nearest } from '../query/nearest.ts';
import {
  DURATION_PATTERN,
  formatSize,
  parseDuration,
  parsePercent,
  parseSize,
  PERCENT_PATTERN,
  SIZE_PATTERN,
} from './units.ts';

/** Longest text that any key takes, characters. */
export const TEXT_LENGTH_MAX = 1024;
/** Longest piece of a value that an error repeats, characters. */
const SHOWN_LENGTH_MAX = 60;

/** An amount of disk: absolute, or relative to the filesystem that holds `dataDir`. */
export type Amount = { bytes: number } | { percent: number };

interface Checked {
  readonly value: unknown;
}

/** For refinements of a mapping that also run while some of its keys are wrong, so that all problems come in one go. */
export const ALONGSIDE = {
  when: ({ value }: Checked): boolean => typeof value === 'object' && value !== null && !Array.isArray(value),
};
/** The same for refinements of a list. */
export const ALONGSIDE_LIST = { when: ({ value }: Checked): boolean => Array.isArray(value) };

/** Adds a problem from within a refinement; `path` leads on from the value that is refined. */
export function complain(context: z.core.$RefinementCtx, message: string, path: (string | number)[] = []): void {
  context.addIssue({ code: 'custom', path, message });
}

/** Makes the error of a value from the value; absent means that the key is missing. */
export type Wording = (issue: { readonly input?: unknown }) => string;

/** A value as an error repeats it. */
export function show(value: unknown): string {
  if (value === null) return 'an empty value';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return `a ${typeof value}`;
  return JSON.stringify(value.length > SHOWN_LENGTH_MAX ? `${value.slice(0, SHOWN_LENGTH_MAX)}…` : value);
}

/**
 * The error of a value that is not what its key takes. `what` begins with an article, `right` finishes "write ..."; it is
 * left out where `what` says it all.
 */
export function misfit(what: string, right?: string): Wording {
  return ({ input }) => {
    if (input === undefined) return `missing; write ${right ?? what}`;
    return `${show(input)} is not ${what}${right === undefined ? '' : `; write ${right}`}`;
  };
}

/** For text: a bare number or true is refused rather than turned into text, since 0123 and 1e3 would not survive that. */
export function quoted(otherwise: Wording): Wording {
  return ({ input }) =>
    typeof input === 'number' || typeof input === 'boolean'
      ? `${input} is read as a ${typeof input}; put it in quotes`
      : otherwise({ input });
}

/** Text of one line. */
export function text(what: string, example: string): z.ZodString {
  const error = quoted(misfit(what, `for example ${example}`));
  return z
    .string({ error })
    .min(1, { error })
    .max(TEXT_LENGTH_MAX, { error })
    .regex(/^\P{Cc}*$/u, { error });
}

/** The name of a gateway, child or route: it becomes a level of MQTT topics, so no `/`, `+`, `#`, and no leading `$`. */
export function identifier(example: string): z.ZodString {
  const error = quoted(misfit('a name of 1 to 128 letters, digits, "-", "." or "_"', `for example ${example}`));
  return z.string({ error }).regex(/^[A-Za-z0-9._-]{1,128}$/, { error });
}

export function integer(min: number, max: number): z.ZodNumber {
  const error = misfit(`a whole number from ${min} to ${max}`);
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
}

export function flag(): z.ZodBoolean {
  return z.boolean({ error: misfit('true or false') });
}

/** One of a few words or numbers. */
export function choice<const T extends readonly (string | number)[]>(values: T): z.ZodLiteral<T[number]> {
  const all = values.join(', ');
  const words = values.filter((value) => typeof value === 'string');
  const error: Wording = ({ input }) => {
    if (input === undefined) return `missing; write one of ${all}`;
    const meant = typeof input === 'string' ? nearest(input, words) : undefined;
    return `${show(input)} is not one of ${all}${meant === undefined ? '' : `; did you mean "${meant}"?`}`;
  };
  return z.literal([...values], { error });
}

type Measured<T> = z.ZodPipe<z.ZodUnion<[z.ZodString, z.ZodNumber]>, z.ZodTransform<T, string | number>>;

/** What both spellings of a measured value have in common: text with a unit, or a plain number. */
function measured<T>(
  form: {
    title: string;
    pattern: string;
    plain: { minimum: number; maximum: number };
    error: Wording;
  },
  read: (value: string | number) => T | undefined,
): Measured<T> {
  return z
    .union([z.string().meta({ pattern: form.pattern }), z.number().meta({ ...form.plain })], { error: form.error })
    .transform((input, context) => {
      const value = read(input);
      if (value !== undefined) return value;
      complain(context, form.error({ input }));
      return z.NEVER;
    })
    .meta({ title: form.title }) as Measured<T>;
}

interface TimeRange {
  readonly min: number;
  readonly max: number;
  /** Fractions of the unit are allowed. */
  readonly fractions?: boolean;
}

/** A time that is kept in seconds: a plain number is seconds, `2h` works as well. */
export function seconds({ min, max, fractions = false }: TimeRange, example: string): Measured<number> {
  const error = misfit(`a time from ${min} to ${max} seconds`, `for example ${example}`);
  return measured(
    { title: 'seconds', pattern: DURATION_PATTERN, plain: { minimum: min, maximum: max }, error },
    (value) => {
      const ms = typeof value === 'string' ? parseDuration(value) : undefined;
      const secs = typeof value === 'number' ? value : ms === undefined ? Number.NaN : ms / 1000;
      return secs >= min && secs <= max && (fractions || Number.isInteger(secs)) ? secs : undefined;
    },
  );
}

/** A time that is kept in milliseconds: a plain number is milliseconds, `5s` works as well. */
export function milliseconds({ min, max }: TimeRange, example: string): Measured<number> {
  const error = misfit(`a time from ${min} to ${max} milliseconds`, `for example ${example}`);
  return measured(
    { title: 'milliseconds', pattern: DURATION_PATTERN, plain: { minimum: min, maximum: max }, error },
    (value) => {
      const ms = typeof value === 'string' ? parseDuration(value) : value;
      return ms !== undefined && Number.isInteger(ms) && ms >= min && ms <= max ? ms : undefined;
    },
  );
}

/** A time whose key names no unit, so that the value must; kept in milliseconds. */
export function duration(
  minMs: number,
  maxMs: number,
  range: string,
  example: string,
): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  const error = misfit(`a time ${range}`, `for example ${example}`);
  return z
    .string({ error })
    .meta({ pattern: DURATION_PATTERN })
    .transform((input, context) => {
      const ms = parseDuration(input);
      if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
      complain(context, error({ input }));
      return z.NEVER;
    })
    .meta({ title: 'time with unit' });
}

/** A size, kept in bytes; a plain number is bytes. */
export function size(min: number, max: number, example: string): Measured<number> {
  const error = misfit(`a size from ${formatSize(min)} to ${formatSize(max)}`, `for example ${example}`);
  return measured({ title: 'size', pattern: SIZE_PATTERN, plain: { minimum: min, maximum: max }, error }, (value) => {
    const bytes = typeof value === 'string' ? parseSize(value) : value;
    return bytes !== undefined && Number.isInteger(bytes) && bytes >= min && bytes <= max ? bytes : undefined;
  });
}

interface AmountRange {
  readonly bytesMin: number;
  readonly percentMin: number;
  readonly percentMax: number;
}

/** A size, or a part of the filesystem. */
export function amount({ bytesMin, percentMin, percentMax }: AmountRange, example: string): Measured<Amount> {
  const range = `${bytesMin > 0 ? ` of at least ${formatSize(bytesMin)}` : ''} or a percentage from ${percentMin}% to ${percentMax}%`;
  const right = `for example ${example}`;
  const outside = misfit(`a size${range}`, right);
  const pattern = `${SIZE_PATTERN}|${PERCENT_PATTERN}`;
  const spelled = new RegExp(pattern);
  // Text that is no size at all gets the short answer; the limits only matter to who has the spelling right.
  const error: Wording = ({ input }) =>
    typeof input === 'string' && !spelled.test(input) ? misfit('a size', right)({ input }) : outside({ input });
  const plain = { minimum: bytesMin, maximum: Number.MAX_SAFE_INTEGER };
  return measured({ title: 'size or percentage', pattern, plain, error }, (value) => {
    const percent = typeof value === 'string' ? parsePercent(value) : undefined;
    if (percent !== undefined) return percent >= percentMin && percent <= percentMax ? { percent } : undefined;
    const bytes = typeof value === 'string' ? parseSize(value) : value;
    return bytes !== undefined && Number.isSafeInteger(bytes) && bytes >= bytesMin ? { bytes } : undefined;
  });
}

/** A mapping whose keys are all known; other keys are reported by name (see unknown-key.ts). */
export function section<const S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  return z.strictObject(shape, {
    error: ({ input }) => {
      const right = `"key: value" lines, with the keys ${Object.keys(shape).join(', ')}`;
      return misfit('a mapping', right)({ input });
    },
  });
}

export function list<T extends z.ZodType>(item: T, example?: string): z.ZodArray<T> {
  return z.array(item, {
    error: misfit('a list', example === undefined ? 'lines that begin with "- "' : `for example ${example}`),
  });
}
