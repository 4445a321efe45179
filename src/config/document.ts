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
  /** A problem inside a text: `offset` characters behind its beginning. At the text itself where it is written in a way that cannot be followed. */
  inText(path: Path, offset: number, message: string): Located;
  /** A problem at a key itself. */
  atKey(path: Path, message: string): Located;
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
    inText: (path, offset, message) => {
      const { value, complete } = find(document, path);
      const place = complete && isScalar(value) ? offsetIn(text, value, offset) : undefined;
      return place === undefined ? atNode(value, message) : located(place, message);
    },
    atValue: (path, message) => {
      const { key, value, complete } = find(document, path);
      const written = complete && value?.range && value.range[1] > value.range[0];
      return atNode(written ? value : (key ?? value), message);
    },
  };
}

/** A value of a document, if it is a mapping. */
export function asMapping(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
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

/** Where in the file the character `offset` of a text's value stands; undefined where lines are folded or characters escaped. */
function offsetIn(file: string, { type, value, range }: Scalar, offset: number): number | undefined {
  if (typeof value !== 'string' || !range) return undefined;
  const [from, to] = range;
  if (type === 'PLAIN') return file.slice(from, from + value.length) === value ? from + offset : undefined;
  if (type === 'QUOTE_DOUBLE' || type === 'QUOTE_SINGLE')
    return file.slice(from + 1, to - 1) === value ? from + 1 + offset : undefined;
  if (type !== 'BLOCK_LITERAL') return undefined;
  // The text begins behind the line with the "|"; each of its lines is indented by as much as the first that is not empty.
  const before = value.slice(0, offset).split('\n');
  const lines = file.slice(from, to).split('\n');
  const indent = /^ */.exec(lines.slice(1).find((line) => line.trim() !== '') ?? '')![0].length;
  let at = from;
  for (const line of lines.slice(0, before.length)) at += line.length + 1;
  return at + indent + before.at(-1)!.length;
}
