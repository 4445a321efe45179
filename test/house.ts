/**
 * The rules of the house that a compiler does not know. Each takes the files that it judges and gives one complaint for
 * each breach, with the place and what to do about it.
 */
import { posix } from 'node:path';
import { blank, importsOf, lineAt, type SourceFile } from './source-text.ts';

export const LINES_MAX = 400;

/** The rooms that know none of those above them, and the few that each may import (DESIGN, "One process, one way through"). */
const BELOW: Readonly<Record<string, readonly string[]>> = {
  message: ['clock'],
  clock: ['message'],
  store: ['clock'],
  query: ['message', 'clock'],
  dialects: ['message', 'clock'],
};
/** They meet through small interfaces that `gateway.ts` connects. */
const STRANGERS = ['drivers', 'hub', 'rules', 'spool', 'upstream'];
const ROOMS = [
  ...Object.keys(BELOW),
  ...STRANGERS,
  'cli',
  'config',
  'router',
  'registry',
  'twins',
  'commands',
  'above',
  'fleet',
  'board',
  'health',
];
/** Files that stand in src/ itself. */
const ENTRANCES = ['start', 'main', 'gateway'];
const VAGUE = ['utils', 'util', 'helpers', 'helper', 'common', 'misc', 'manager', 'managers'];

/** `src/spool/lane.ts` is in `spool`; `src/main.ts` is a room of its own. */
function roomOf(path: string): string {
  return (path.split('/')[1] ?? '').replace(/\.ts$/, '');
}

/** The project's file that `specifier` in `path` means, or null for a package. */
function target(path: string, specifier: string): string | null {
  return specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : null;
}

function matches(file: SourceFile, pattern: RegExp, text = file.text): { place: string; word: string }[] {
  return [...text.matchAll(pattern)].map((match) => ({
    place: `${file.path}:${lineAt(text, match.index)}`,
    word: match[0],
  }));
}

function complaintAbout(from: string, to: string): string | null {
  if (from === to) return null;
  if (from === 'start') return 'start.ts is loaded before the bundle and imports nothing of ours';
  if (from === 'main') return to === 'cli' ? null : 'main.ts only hands argv to cli/: move this there';
  if (from === 'cli') return null;
  if (to === 'start' || to === 'main' || to === 'cli')
    return `nothing imports ${to}: move what is needed down into the room that owns it`;
  if (from === 'gateway') return null;
  if (to === 'gateway')
    return 'only cli/ imports gateway.ts: take what is needed as a parameter and let gateway.ts pass it';
  if (to === 'health')
    return 'only gateway.ts and cli/ import health/: offer what it asks about, and let gateway.ts connect it';
  const allowed = BELOW[from];
  if (allowed && !allowed.includes(to)) {
    return `${from}/ is below ${to}/ and may import only ${allowed.map((room) => `${room}/`).join(', ')}`;
  }
  if (STRANGERS.includes(from) && STRANGERS.includes(to)) {
    return `${from}/ and ${to}/ meet only in gateway.ts: say in an interface of ${from}/'s own what it needs`;
  }
  return null;
}

/** Imports point down, types included. */
export function importDirection(files: readonly SourceFile[]): string[] {
  const complaints: string[] = [];
  for (const file of files) {
    const from = roomOf(file.path);
    if (![...ROOMS, ...ENTRANCES].includes(from)) {
      complaints.push(`${file.path}: DESIGN names no room ${from}: put the file into one that it names`);
    }
    for (const { specifier, line } of importsOf(file.text)) {
      const to = target(file.path, specifier);
      if (to === null) continue;
      const complaint = to.startsWith('src/')
        ? complaintAbout(from, roomOf(to))
        : 'src/ imports nothing outside src/: it would not be there in a package';
      if (complaint !== null) complaints.push(`${file.path}:${line}: imports ${to}, but ${complaint}`);
    }
  }
  return complaints;
}

function graph(files: readonly SourceFile[]): Map<string, string[]> {
  return new Map(
    files.map((file) => [
      file.path,
      importsOf(file.text).flatMap(({ specifier }) => target(file.path, specifier) ?? []),
    ]),
  );
}

/** No file imports itself by way of others, types included. */
export function importCircles(files: readonly SourceFile[]): string[] {
  const imports = graph(files);
  const complaints: string[] = [];
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) {
      const circle = [...trail.slice(start), path].join(' -> ');
      complaints.push(`${circle}: a circle of imports; move what both need into a file below them`);
      return;
    }
    if (finished.has(path)) return;
    for (const next of imports.get(path) ?? []) visit(next, [...trail, path]);
    finished.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return complaints;
}

/** Every file but `src/start.ts`, which starts the bundle, is reached from `src/main.ts`; a `.d.ts` is reached when a file that is reached imports its module. */
export function deadFiles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const modules = new Set<string>();
  const queue = ['src/start.ts', 'src/main.ts'];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    const file = byPath.get(path);
    if (!file || reached.has(path)) continue;
    reached.add(path);
    for (const { specifier } of importsOf(file.text)) {
      modules.add(specifier);
      queue.push(target(path, specifier) ?? '');
    }
  }
  if (!reached.has('src/main.ts')) return ['src/main.ts: is missing, so nothing is reached from it'];
  return files
    .filter(({ path }) => !reached.has(path))
    .filter(({ text }) => ![...text.matchAll(/declare module '([^']+)'/g)].some((match) => modules.has(match[1] ?? '')))
    .map(({ path }) => `${path}: nothing that src/main.ts reaches imports it; delete it, or use it`);
}

/** A file is a noun, a folder a concern: neither is a junk drawer. */
export function vagueNames(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path }) =>
    path
      .split('/')
      .filter((part) => part.split(/[.-]/).some((word) => VAGUE.includes(word)))
      .map((part) => `${path}: "${part}" says nothing; name it for what it holds`),
  );
}

export function longFiles(files: readonly SourceFile[]): string[] {
  return files
    .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > LINES_MAX)
    .map(({ path, lines }) => `${path}: ${lines} lines, at most ${LINES_MAX}; look for the second noun in it`);
}

/** The platform's time is asked for in src/clock, and in src/cli for terminals; everybody else is given a Clock. */
export function platformTime(files: readonly SourceFile[]): string[] {
  const asked =
    /(?<![\w$])(?:Date\.now|performance\.now|process\.hrtime)\b|(?<![\w$])new Date(?:\(\s*\)|(?!\s*\(|[\w$]))|(?<![\w$.])set(?:Timeout|Interval)\s*\(/g;
  return files
    .filter(({ path }) => !['clock', 'cli'].includes(roomOf(path)))
    .flatMap((file) => [
      ...matches(file, asked, blank(file.text, 'comments and strings')).map(
        ({ place, word }) => `${place}: ${word} asks the platform for the time; take a Clock (src/clock/clock.ts)`,
      ),
      ...importsOf(file.text)
        .filter(({ specifier }) => /^(?:node:)?timers(?:\/promises)?$/.test(specifier))
        .map(({ line }) => `${file.path}:${line}: timers of the platform's own; take a Clock (src/clock/clock.ts)`),
    ]);
}

export function unfinished(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    matches(file, /\b(?:TODO|FIXME|XXX)\b/g).map(
      ({ place, word }) => `${place}: ${word}; finish it, or open an issue and delete the note`,
    ),
  );
}

export function consoleUse(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => roomOf(path) !== 'cli')
    .flatMap((file) =>
      matches(file, /(?<![\w$.])console\s*\./g, blank(file.text, 'comments and strings')).map(
        ({ place }) => `${place}: only src/cli writes to the terminal; take a pino Logger`,
      ),
    );
}

/** A test that runs alone, or only promises to, hides the others. */
export function partialTests(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) =>
    matches(
      file,
      /\.(?:only|todo)\s*\(|\b(?:only|todo):\s*(?:true|['"`])/g,
      blank(file.text, 'comments and strings'),
    ).map(({ place, word }) => `${place}: ${word.trim()} leaves tests out; delete it before the commit`),
  );
}

/** Each relative link in a Markdown file leads to a file; `exists` says whether a path relative to the root does. */
export function brokenLinks(files: readonly SourceFile[], exists: (path: string) => boolean): string[] {
  return files.flatMap((file) => {
    // Code shows links, it does not make them.
    const prose = file.text.replace(/^(```|~~~)[\s\S]*?^\1|`[^`\n]*`/gm, (code) => code.replace(/[^\n]/g, ' '));
    return [...prose.matchAll(/\]\(\s*<?([^)\s>]+)[^)]*\)|^\s*\[[^\]]+\]:\s*(\S+)/gm)].flatMap((match) => {
      const link = match[1] ?? match[2] ?? '';
      if (/^(?:[a-z][a-z+.-]*:|#)/i.test(link)) return [];
      const path = decodeURIComponent(link.replace(/[#?].*$/, ''));
      const to = path.startsWith('/') ? path.slice(1) : posix.join(posix.dirname(file.path), path);
      return exists(to) ? [] : [`${file.path}:${lineAt(prose, match.index)}: links to ${to}, which does not exist`];
    });
  });
}
