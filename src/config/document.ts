import fs from 'node:fs';
import { isAlias, isMap, isScalar, isSeq, LineCounter } from 'yaml';
import type { Document, Node, Scalar } from 'yaml';
import { ConfigError } from './problem.ts';
import type { Path, Problem } from './problem.ts';
import { parseYaml } from './syntax.ts';

/** Largest file that is read, bytes. */
export const FILE_BYTES_MAX = 1024 ** 2;

/** Most values that one alias may multiply into (the library's measure): a bomb reaches it at once. */
const ALIASES_MAX = 1000;

/** A YAML file that was read, and where in it each value stands. */
export interface YamlDocument {
  readonly file: string;
  /** Plain data: mappings, lists, text, numbers, booleans, null. */
  readonly root: unknown;
  /** A problem at a key's value; where the key is missing, at the key of what it is missing from. */
  atValue(path: Path, message: string): Located;
  /** A problem at a key itself. */
  atKey(path: Path, message: string): Located;
  /** A problem within the text that is a key's value, `offset` UTF-16 units on, however that is written in the file. */
  atText(path: Path, offset: number, message: string): Located;
}

/** What a document adds to a message. */
export type Located = Omit<Problem, 'path'>;

/** Reads a YAML file. Throws a {@link ConfigError} when it cannot be read or is not one plain YAML document. */
export function readYaml(file: string): YamlDocument {
  const text = readText(file);
  const lines = new LineCounter();
  const located = (offset: number, message: string): Located => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), message };
  };
  const failure = (faults: readonly Located[]): ConfigError =>
    new ConfigError(faults.map((fault) => ({ path: '', ...fault })));

  const document = parseYaml(text, lines);
  if ('faults' in document) throw failure(document.faults.map(({ offset, message }) => located(offset, message)));
  let root: unknown;
  try {
    root = document.toJS({ maxAliasCount: ALIASES_MAX });
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    throw failure([located(0, 'aliases (*name) multiply too often; write the values out')]);
  }
  if (root === null) throw failure([located(0, 'the file is empty')]);

  const atNode = (node: Node | undefined, message: string): Located => located(node?.range?.[0] ?? 0, message);
  return {
    file,
    root,
    atKey: (path, message) => {
      const { key, value } = find(document, path);
      return atNode(key ?? value, message);
    },
    atValue: (path, message) => {
      const { key, value, complete } = find(document, path);
      const written = complete && value?.range && value.range[1] > value.range[0];
      return atNode(written ? value : (key ?? value), message);
    },
    atText: (path, offset, message) => {
      const { value } = find(document, path);
      const node = isAlias(value) ? value.resolve(document) : value;
      return isScalar(node) ? located(placeInScalar(text, node, offset), message) : atNode(value, message);
    },
  };
}

/** A value of a document, if it is a mapping. */
export function asMapping(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/**
 * Where in the file a part of a scalar's text stands. YAML folds and indents text, but drops nothing of it that is no white space: so those
 * characters are counted. Where something is escaped that does not hold, and it is where the scalar begins.
 */
function placeInScalar(text: string, { value, range, type }: Scalar, offset: number): number {
  const [begin, end] = range ?? [0, 0];
  if (typeof value !== 'string') return begin;
  let from = begin;
  if (type === 'QUOTE_DOUBLE' || type === 'QUOTE_SINGLE') from++;
  else if (type === 'BLOCK_LITERAL' || type === 'BLOCK_FOLDED') from = text.indexOf('\n', begin) + 1;
  const source = text.slice(from, from === begin + 1 ? end - 1 : end);
  if (source.replaceAll(/\s/g, '') !== value.replaceAll(/\s/g, '')) return begin;
  const before = value.slice(0, offset).replaceAll(/\s/g, '').length;
  const places = source.matchAll(/\S/g);
  let place = 0;
  for (let n = 0; n <= before; n++) {
    const next = places.next();
    // At the end of the text: behind the last character that is one.
    if (next.done === true) return from + place;
    place = next.value.index + (n === before ? 0 : 1);
  }
  return from + place;
}

/** The file as text without a byte order mark. */
function readText(file: string): string {
  const problem = (message: string, line = 0, column = 0): ConfigError =>
    new ConfigError([{ file, line, column, path: '', message }]);
  let bytes: Buffer;
  try {
    const stat = fs.statSync(file);
    if (stat.isDirectory()) throw problem('is a folder, not a file');
    if (stat.size > FILE_BYTES_MAX)
      throw problem(`has ${stat.size} bytes; a configuration has at most ${FILE_BYTES_MAX}`);
    bytes = fs.readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw problem('no such file');
    if (code === 'EACCES' || code === 'EPERM') throw problem('may not be read by this user');
    if (code !== undefined) throw problem(`cannot be read (${code})`);
    throw error;
  }
  if (bytes.length >= 2 && (bytes.readUInt16BE(0) === 0xfffe || bytes.readUInt16BE(0) === 0xfeff)) {
    throw problem('is UTF-16 text; save it as UTF-8', 1, 1);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const { line, column } = firstBadByte(bytes);
    throw problem('is not UTF-8 text from here on; save it as UTF-8', line, column);
  }
}

/** Where UTF-8 ends, as line and column. */
function firstBadByte(bytes: Buffer): { line: number; column: number } {
  const good = bytes.toString('utf8').split('\uFFFD', 1)[0] ?? '';
  const before = good.split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

interface Found {
  /** The last key on the way that exists. */
  readonly key: Node | undefined;
  readonly value: Node | undefined;
  /** The whole path exists. */
  readonly complete: boolean;
}

/** Follows a path as far as it exists, through aliases. */
function find(document: Document.Parsed, path: Path): Found {
  let value: Node | undefined = document.contents ?? undefined;
  let key: Node | undefined;
  for (const step of path) {
    const target: Node | undefined = isAlias(value) ? value.resolve(document) : value;
    if (isMap(target)) {
      const pair = target.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (pair === undefined) return { key, value, complete: false };
      key = pair.key as Node;
      value = (pair.value as Node | null) ?? undefined;
    } else if (isSeq(target) && typeof step === 'number' && step < target.items.length) {
      key = undefined;
      value = target.items[step] as Node;
    } else {
      return { key, value, complete: false };
    }
  }
  return { key, value, complete: true };
}
