/*
 * JSON merge patch (RFC 7396): an object is merged, `null` deletes, anything else replaces. Nothing is changed in place.
 */

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

/** No prototype: a property may be called `__proto__`. */
export function emptyObject(): JsonObject {
  return Object.create(null) as JsonObject;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `target` with `patch` merged into it. */
export function merged(target: JsonObject, patch: JsonObject): JsonObject {
  const result = Object.assign(emptyObject(), target);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else if (isObject(value)) result[name] = merged(isObject(result[name]) ? result[name] : emptyObject(), value);
    else result[name] = value;
  }
  return result;
}

/** The smallest patch that makes `to` of `from`; empty when they are the same. There are no nulls but in lists. */
export function difference(from: JsonObject, to: JsonObject): JsonObject {
  const patch = emptyObject();
  for (const name of Object.keys(from)) if (!Object.hasOwn(to, name)) patch[name] = null;
  for (const [name, value] of Object.entries(to)) {
    const was = Object.hasOwn(from, name) ? from[name] : undefined;
    if (!isObject(was) || !isObject(value)) {
      if (!same(was, value)) patch[name] = value;
      continue;
    }
    const inner = difference(was, value);
    if (Object.keys(inner).length > 0) patch[name] = inner;
  }
  return patch;
}

/** Whether two values say the same; the order of an object's names says nothing. */
export function same(a: Json | undefined, b: Json | undefined): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((each, at) => same(each, b[at]));
  if (!isObject(a) || !isObject(b)) return Object.is(a, b) || (a === 0 && b === 0);
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]))
  );
}
