import { isObject, type Json, type JsonObject } from './patch.ts';

/*
 * What a twin may hold: Azure IoT Hub's limits ("Understand and use device twins in IoT Hub", tags and properties format), so that
 * what is taken here is taken there.
 */

/** Size of the desired or of the reported properties, as {@link sizeOf} counts it. */
export const SIZE_MAX = 32 * 1024;
/** Objects and lists within each other, below the document itself. */
export const DEPTH_MAX = 10;
export const NAME_BYTES_MAX = 1024;
export const TEXT_BYTES_MAX = 4096;
/** Whole numbers lie from -2^52 to 2^52 - 1. */
const INTEGER_END = 2 ** 52;

const NUMBER_SIZE = 8;
const BOOLEAN_SIZE = 4;

/** Unicode's C0 and C1. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

/** What is wrong with a value, with where it stands; null when nothing is. */
export function breach(value: Json, path = '', depth = 0): string | null {
  if (typeof value === 'string') {
    const bytes = Buffer.byteLength(value);
    return bytes > TEXT_BYTES_MAX ? `${path} has ${bytes} bytes; a text may have ${TEXT_BYTES_MAX}` : null;
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return `${path} is no number that can be kept`;
    const fits = !Number.isInteger(value) || (value >= -INTEGER_END && value < INTEGER_END);
    return fits ? null : `${path} is ${value}; a whole number lies from -2^52 to 2^52 - 1`;
  }
  if (typeof value !== 'object' || value === null) return null;
  if (depth > DEPTH_MAX) return `${shortened(path)} is nested deeper than ${DEPTH_MAX}`;
  if (Array.isArray(value)) return first(value, (each, at) => breach(each, `${path}[${at}]`, depth + 1));
  return first(Object.entries(value), ([name, each]) => {
    const inner = path === '' ? shortened(name) : `${path}.${shortened(name)}`;
    return nameBreach(name) ?? breach(each, inner, depth + 1);
  });
}

function first<T>(all: readonly T[], look: (each: T, at: number) => string | null): string | null {
  for (const [at, each] of all.entries()) {
    const found = look(each, at);
    if (found !== null) return found;
  }
  return null;
}

function nameBreach(name: string): string | null {
  const bytes = Buffer.byteLength(name);
  if (bytes > NAME_BYTES_MAX) return `a name has ${bytes} bytes; it may have ${NAME_BYTES_MAX}`;
  if (name === '') return 'a name is empty';
  // Not `test`: the expression is global, and would go on from where it was.
  if (/[.$ ]/.test(name) || name.search(CONTROL) >= 0)
    return `the name ${JSON.stringify(shortened(name))} may have no ".", "$", space or control character`;
  return null;
}

/** Of a name or a path, as much as an error repeats. */
function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** The size of a document as IoT Hub counts it: names and texts in UTF-8 without control characters, numbers 8, true and false 4. */
export function sizeOf(value: Json): number {
  if (typeof value === 'string') return Buffer.byteLength(value.replace(CONTROL, ''));
  if (typeof value === 'number') return NUMBER_SIZE;
  if (typeof value === 'boolean') return BOOLEAN_SIZE;
  if (value === null) return 0;
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + sizeOf(each), 0);
  return Object.entries(value).reduce((sum, [name, each]) => sum + sizeOf(name) + sizeOf(each), 0);
}

/** A patch as it was sent, without what stands there of the gateway's own; a text when it is none. */
export function patchFrom(value: unknown): JsonObject | string {
  if (!isObject(value)) return 'properties are a JSON object';
  // Who reads a document, changes it and gives it back, gives these back, too.
  const { $version: _, $metadata: __, ...patch } = value;
  return breach(patch) ?? patch;
}
