import type { RouteValue } from './route-ast.ts';

/** What is known of a value before there is a message. `body`: anything. */
export type RouteType = 'undefined' | 'null' | 'bool' | 'number' | 'text' | 'body';

export interface RouteFunction {
  /** What each argument must be; `any` takes everything. */
  readonly params: readonly (readonly ('any' | 'number' | 'text')[])[];
  /** How many of the last ones may be left out. */
  readonly optional?: number;
  /** The last one may stand there any number of times. */
  readonly repeated?: boolean;
  readonly result: RouteType;
  /** Each argument is of a type in `params`: else it is not called, and the result is undefined. What it makes of them may be NaN. */
  readonly run: (args: readonly RouteValue[]) => RouteValue;
  /** As in `SUBSTRING(text, start [, length])`. */
  readonly form: string;
}

function ofNumber(name: string, run: (x: number) => number): [string, RouteFunction] {
  const definition: RouteFunction = {
    params: [['number']],
    result: 'number',
    run: ([x]) => run(x as number),
    form: `${name}(number)`,
  };
  return [name.toLowerCase(), definition];
}

function ofText(
  name: string,
  run: (text: string) => string | number,
  result: 'text' | 'number',
): [string, RouteFunction] {
  const definition: RouteFunction = {
    params: [['text']],
    result,
    run: ([text]) => run(text as string),
    form: `${name}(text)`,
  };
  return [name.toLowerCase(), definition];
}

function ofTwoTexts(
  name: string,
  run: (text: string, part: string) => boolean | number,
  result: 'bool' | 'number',
): [string, RouteFunction] {
  const definition: RouteFunction = {
    params: [['text'], ['text']],
    result,
    run: ([text, part]) => run(text as string, part as string),
    form: `${name}(text, part)`,
  };
  return [name.toLowerCase(), definition];
}

function test(name: string, run: (value: RouteValue) => boolean): [string, RouteFunction] {
  const definition: RouteFunction = {
    params: [['any']],
    result: 'bool',
    run: ([value]) => run(value),
    form: `${name}(value)`,
  };
  return [name.toLowerCase(), definition];
}

/** The functions of the published route query language, by their names in lower case. */
export const ROUTE_FUNCTIONS: ReadonlyMap<string, RouteFunction> = new Map<string, RouteFunction>([
  ofNumber('ABS', Math.abs),
  ofNumber('CEILING', Math.ceil),
  ofNumber('FLOOR', Math.floor),
  ofNumber('EXP', Math.exp),
  ofNumber('SIGN', Math.sign),
  ofNumber('SQUARE', (x) => x * x),
  ofNumber('SQRT', Math.sqrt),
  [
    'power',
    {
      params: [['number'], ['number']],
      result: 'number',
      run: ([x, y]) => (x as number) ** (y as number),
      form: 'POWER(x, y)',
    },
  ],
  [
    'as_number',
    {
      params: [['text', 'number']],
      result: 'number',
      run: ([value]) => (typeof value === 'string' ? numberIn(value) : value),
      form: 'AS_NUMBER(text)',
    },
  ],
  test('IS_BOOL', (value) => typeof value === 'boolean'),
  test('IS_NUMBER', (value) => typeof value === 'number' && Number.isFinite(value)),
  test('IS_STRING', (value) => typeof value === 'string'),
  test('IS_DEFINED', (value) => value !== undefined),
  test('IS_NULL', (value) => value === null),
  test('IS_ARRAY', (value) => Array.isArray(value)),
  test('IS_OBJECT', (value) => typeof value === 'object' && value !== null && !Array.isArray(value)),
  test('IS_PRIMITIVE', (value) => value !== undefined && (typeof value !== 'object' || value === null)),
  [
    'concat',
    {
      params: [['text'], ['text']],
      repeated: true,
      result: 'text',
      run: (args) => (args as readonly string[]).join(''),
      form: 'CONCAT(text, text, ...)',
    },
  ],
  ofText('LENGTH', (text) => text.length, 'number'),
  ofText('LOWER', (text) => text.toLowerCase(), 'text'),
  ofText('UPPER', (text) => text.toUpperCase(), 'text'),
  [
    'substring',
    {
      params: [['text'], ['number'], ['number']],
      optional: 1,
      result: 'text',
      run: ([text, start, length]) => part(text as string, start as number, length as number | undefined),
      form: 'SUBSTRING(text, start [, length])',
    },
  ],
  ofTwoTexts('INDEX_OF', (text, sought) => text.indexOf(sought), 'number'),
  ofTwoTexts('STARTS_WITH', (text, sought) => text.startsWith(sought), 'bool'),
  ofTwoTexts('ENDS_WITH', (text, sought) => text.endsWith(sought), 'bool'),
  ofTwoTexts('CONTAINS', (text, sought) => text.includes(sought), 'bool'),
]);

/** From `start`, counted from 0: to the end, or so many characters, all of which must be there. */
function part(text: string, start: number, length: number | undefined): string | undefined {
  const from = Math.trunc(start);
  if (length === undefined) return from >= 0 && from <= text.length ? text.slice(from) : undefined;
  const count = Math.trunc(length);
  const there = from >= 0 && from < text.length && count >= 0 && count <= text.length - from;
  return there ? text.slice(from, from + count) : undefined;
}

/** A number as people write it: white space around it, a sign, an exponent, `1,000`, and `(5)` for -5. */
function numberIn(text: string): number | undefined {
  // Without the space around it: an expression that looks for it takes the square of its length where there is no number.
  const found = /^(?:\(\s*([\d.,]+(?:[eE][+-]?\d+)?)\s*\)|([+-]?)\s*([\d.,]+(?:[eE][+-]?\d+)?)\s*([+-]?))$/.exec(
    text.trim(),
  );
  if (found === null) return undefined;
  const [, bracketed, before = '', plain = '', behind = ''] = found;
  if (before !== '' && behind !== '') return undefined;
  const digits = /^(\d[\d,]*)?(?:\.(\d*))?(e[+-]?\d+)?$/i.exec(bracketed ?? plain);
  if (digits === null || ((digits[1] ?? '') === '' && (digits[2] ?? '') === '')) return undefined;
  const [, whole = '', fraction = '', exponent = ''] = digits;
  const value = Number(`${whole.replaceAll(',', '') || '0'}.${fraction || '0'}${exponent}`);
  return bracketed !== undefined || before === '-' || behind === '-' ? -value : value;
}
