/** A part of a parsed query without the places in its text, for comparison with what is written by hand. */
export function withoutPlaces(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(withoutPlaces);
  if (typeof part !== 'object' || part === null) return part;
  const prototype: unknown = Object.getPrototypeOf(part);
  if (prototype !== Object.prototype && prototype !== null) return part;
  return Object.fromEntries(
    Object.entries(part)
      .filter(([name]) => name !== 'at')
      .map(([name, value]) => [name, withoutPlaces(value)]),
  );
}
