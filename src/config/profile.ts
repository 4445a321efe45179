import fs from 'node:fs';
import path from 'node:path';
import { readYaml } from './document.ts';
import type { ChipLine } from './gpio.ts';
import { ConfigError } from './problem.ts';
import { ProfileSchema } from './profile-schema.ts';
import type { Medium, Profile } from './profile-schema.ts';
import { validate } from './validate.ts';

const FOLDER = 'device-profiles';
const INSTALLED = `/usr/share/holdfast/${FOLDER}`;

/** What a profile says of a medium. */
export type MediumSettings = Omit<Profile['storage'], 'medium' | 'media'>;

export interface ProfileFile {
  readonly name: string;
  readonly file: string;
}

/**
 * Folders that may hold profiles, first come first served: those in `HOLDFAST_PROFILES` (separated by colons), the
 * package's own (found upwards from the started script, which works for the bundle, a link to it, and source alike), and
 * the system's.
 */
export function defaultProfileDirs(script = process.argv[1], environment = process.env['HOLDFAST_PROFILES']): string[] {
  const named = (environment ?? '').split(':').filter((dir) => dir !== '');
  const own = script === undefined ? undefined : folderAbove(script);
  return [...named, ...(own === undefined ? [] : [own]), INSTALLED];
}

function folderAbove(script: string): string | undefined {
  let dir: string;
  try {
    dir = path.dirname(fs.realpathSync(script));
  } catch {
    return undefined;
  }
  for (;;) {
    const candidate = path.join(dir, FOLDER);
    if (fs.existsSync(candidate)) return candidate;
    const parent = path.dirname(dir);
    if (parent === dir) return undefined;
    dir = parent;
  }
}

/** The profiles that exist, by name; of several with one name the first folder's counts. */
export function listProfiles(dirs: readonly string[] = defaultProfileDirs()): ProfileFile[] {
  const found = new Map<string, string>();
  for (const dir of dirs) {
    if (!fs.existsSync(dir) || !fs.statSync(dir).isDirectory()) continue;
    for (const entry of fs.readdirSync(dir)) {
      const name = path.basename(entry, '.yaml');
      if (name !== entry && !found.has(name)) found.set(name, path.join(dir, entry));
    }
  }
  return [...found].map(([name, file]) => ({ name, file })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The file of a profile. With a `/` or `.yaml` it is a path from `fromDir`, otherwise a name: undefined when none has it. */
export function findProfile(reference: string, fromDir: string, dirs: readonly string[]): string | undefined {
  if (reference.includes('/') || reference.endsWith('.yaml')) return path.resolve(fromDir, reference);
  return listProfiles(dirs).find(({ name }) => name === reference)?.file;
}

/** Reads a profile. Throws a {@link ConfigError} with every problem in it. */
export function readProfile(file: string): Profile {
  const document = readYaml(file);
  const validated = validate(ProfileSchema, document, document.root);
  if ('problems' in validated) throw new ConfigError(validated.problems);
  return validated.value;
}

/**
 * The device of a child's `serial.port` that is text, or undefined when the profile has no port of that name. Of several paths it
 * is the first that is there now, or the first of all.
 */
export function serialDevice(profile: Profile, port: string): string | undefined {
  if (port.startsWith('/')) return port;
  if (!Object.hasOwn(profile.serial, port)) return undefined;
  const paths = [profile.serial[port] ?? []].flat();
  return paths.find((each) => fs.existsSync(each)) ?? paths[0];
}

/** What suits a medium; null: what medium it is was not seen, and it is taken for the usual one. */
export function storageOf({ storage }: Profile, seen: Medium | null): MediumSettings {
  const { medium, media, ...general } = storage;
  const kind = seen ?? (medium === 'simulated' ? null : medium);
  return { ...general, ...(kind !== null && media[kind]) };
}

/** The chip and offset of a child's `gpio.line`, or undefined when the profile has no line of that name. */
export function gpioLine(profile: Profile, line: string | ChipLine): ChipLine | undefined {
  if (typeof line !== 'string') return line;
  return Object.hasOwn(profile.gpio.lines, line) ? profile.gpio.lines[line] : undefined;
}
