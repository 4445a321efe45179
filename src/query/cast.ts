import type { TypeName } from './ast.ts';
import { parseIso } from './datetime.ts';
import {
  DateTime,
  Float,
  float,
  integer,
  isArray,
  isRecord,
  toNumber,
  typeName,
  ValueError,
  type Value,
} from './value.ts';

/** A number as text: sign, digits, fraction, exponent; blanks around it. Not NaN, Infinity, 0x10, nor nothing. */
const NUMERIC = /^\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\s*$/;
const WHOLE = /^\s*[-+]?\d+\s*$/;
/** Longest text that is read as a number. */
const NUMERIC_MAX = 1024;

/** `CAST(value AS type)`. NULL stays NULL; throws ValueError when the value has no such form. */
export function cast(value: Value, type: TypeName): Value {
  return value === null ? null : CASTS[type](value);
}

/** `TRY_CAST(value AS type)`: NULL instead of an error. */
export function tryCast(value: Value, type: TypeName): Value {
  try {
    return cast(value, type);
  } catch (error) {
    if (error instanceof ValueError) return null;
    throw error;
  }
}

const CASTS: Record<TypeName, (value: Exclude<Value, null>) => Value> = {
  bigint(value) {
    if (typeof value === 'bigint' || (typeof value === 'number' && Number.isInteger(value))) return value;
    if (typeof value === 'boolean') return value ? 1 : 0;
    if (typeof value === 'string' && WHOLE.test(value) && value.length <= NUMERIC_MAX) {
      return integer(BigInt(value.trim().replace(/^\+/, '')));
    }
    const number = typeof value === 'string' ? numberOf(value) : toNumber(value);
    return number === null ? refuse(value, 'bigint') : integer(BigInt(Math.trunc(number)));
  },
  float(value) {
    if (typeof value === 'boolean') return new Float(value ? 1 : 0);
    const number = typeof value === 'string' ? numberOf(value) : toNumber(value);
    return number === null ? refuse(value, 'float') : float(number);
  },
  'nvarchar(max)': (value) => textOf(value) ?? refuse(value, 'nvarchar(max)'),
  datetime(value) {
    if (value instanceof DateTime) return value;
    return (typeof value === 'string' ? parseIso(value) : null) ?? refuse(value, 'datetime');
  },
  bit(value) {
    if (typeof value === 'boolean') return value;
    if (typeof value === 'string' && /^\s*(true|false)\s*$/i.test(value)) return value.trim().toLowerCase() === 'true';
    const number = typeof value === 'string' ? numberOf(value) : toNumber(value);
    return number === null ? refuse(value, 'bit') : number !== 0;
  },
  record: (value) => (isRecord(value) ? value : refuse(value, 'record')),
  array: (value) => (isArray(value) ? value : refuse(value, 'array')),
};

/** Numeric text as a double; null when it is none, or beyond double. */
function numberOf(text: string): number | null {
  if (text.length > NUMERIC_MAX || !NUMERIC.test(text)) return null;
  const number = Number(text);
  return Number.isFinite(number) ? number : null;
}

/** What a value looks like as text: the shortest decimal digits of a float, ISO with 7 digits of a datetime, `true` and `false`; null of a record or array. */
export function textOf(value: Exclude<Value, null>): string | null {
  if (typeof value === 'string') return value;
  if (value instanceof Float) return `${value.value}`;
  if (typeof value === 'object') return value instanceof DateTime ? value.toString() : null;
  return `${value}`;
}

/** Longest part of a value that a message shows. */
const SHOWN_MAX = 40;

function refuse(value: Exclude<Value, null>, type: TypeName): never {
  const text = textOf(value);
  const shown = text === null ? '' : ` '${text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text}'`;
  throw new ValueError(`${typeName(value)}${shown} cannot become ${type}`);
}
