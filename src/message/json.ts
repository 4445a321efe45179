/** Deepest nesting of JSON that is read: what is much deeper can be parsed, but overflows the stack when it is written again. */
const DEPTH_MAX = 500;

/** What a text says, which comes from somebody else. Throws when it is no JSON, or nested too deeply. */
export function readJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (isDeeper(value, DEPTH_MAX)) throw new Error(`it is nested too deeply: at most ${DEPTH_MAX} levels are read`);
  return value;
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === 0 || Object.values(value).some((each) => isDeeper(each, depth - 1));
}
