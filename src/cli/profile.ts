import { recognise, thisMachine, type Recognised } from '../board/recognition.ts';
import { findProfile, listProfiles, readProfile, defaultProfileDirs, serialDevice } from '../config/profile.ts';
import { ConfigError } from '../config/problem.ts';
import type { Profile } from '../config/profile-schema.ts';
import { formatSize } from '../config/units.ts';
import { nearest } from '../query/nearest.ts';
import { CliError, FINE, FOUND_A_PROBLEM, print, printJson, say, table, USED_WRONGLY } from './output.ts';

interface ProfileOptions {
  readonly json?: boolean;
}

/** `holdfast profile detect`: ends with 1 when no profile knows the board. */
export async function detectProfile(options: ProfileOptions): Promise<number> {
  const machine = thisMachine();
  const found = recognise(machine, allProfiles());
  if (options.json === true) {
    printJson({
      profile: found?.profile.name ?? null,
      by: found?.by ?? null,
      because: found?.because ?? null,
      machine,
    });
  } else if (found === null) {
    const called = machine.model ?? machine.dmi;
    say(
      `no profile is for this board${called === null ? '' : ` ("${called}")`}; with \`simulated\` ports and lines are`,
    );
    say('named by path and by chip label, and docs/profiles.md says how to write one');
  } else {
    print(found.profile.name);
    say(`${found.profile.description}: ${found.because}`);
  }
  return found === null ? FOUND_A_PROBLEM : FINE;
}

/** `holdfast profile list`. */
export async function listAllProfiles(options: ProfileOptions): Promise<number> {
  const profiles = allProfiles();
  const here = recognise(thisMachine(), profiles)?.profile.name;
  if (options.json === true) {
    printJson(profiles.map(({ name, description }) => ({ name, description, thisBoard: name === here })));
    return FINE;
  }
  print(
    table(
      ['', 'NAME', 'DESCRIPTION'],
      profiles.map(({ name, description }) => [name === here ? '*' : '', name, description]),
    ),
  );
  return FINE;
}

/** `holdfast profile show`. */
export async function showProfile(name: string | undefined, options: ProfileOptions): Promise<number> {
  const profile = name === undefined ? here().profile : named(name);
  if (options.json === true) {
    printJson(profile);
    return FINE;
  }
  print(`${profile.name}: ${profile.description}`);
  const { storage, watchdog, memory } = profile;
  heading('STORAGE');
  const media = Object.entries(storage.media);
  print(`usually ${storage.medium}`);
  for (const [medium, settings] of media) print(`${medium}: ${settingsText(settings)}`);
  if (media.length === 0) print(settingsText(storage));
  if (watchdog !== undefined) print(`\nWATCHDOG  ${watchdog.device}, at most ${watchdog.maxSecs} s`);
  if (memory !== undefined) print(`MEMORY    at most ${formatSize(memory.limit)}`);
  const leds = Object.entries(profile.leds);
  if (leds.length > 0)
    print(`LEDS      ${leds.map(([use, names]) => `${use}: ${[names].flat().join(' or ')}`).join(', ')}`);
  const ports = Object.keys(profile.serial);
  if (ports.length > 0) {
    print('');
    print(
      table(
        ['PORT', 'PATH'],
        ports.map((port) => [port, serialDevice(profile, port) ?? '']),
      ),
    );
  }
  const lines = Object.entries(profile.gpio.lines);
  if (lines.length > 0) {
    print('');
    print(
      table(
        ['LINE', 'CHIP', 'OFFSET'],
        lines.map(([line, { chip, offset }]) => [line, chip, String(offset)]),
      ),
    );
  }
  return FINE;
}

function heading(text: string): void {
  print(`\n${text}`);
}

function settingsText(settings: Profile['storage']['media']['sd'] & object): string {
  const { ratedTerabytesWritten, quota, commitEveryMs, write, durability } = settings;
  const said = [
    quota !== undefined && `quota ${'bytes' in quota ? formatSize(quota.bytes) : `${quota.percent}%`}`,
    commitEveryMs !== undefined && `commits each ${commitEveryMs} ms`,
    write !== undefined && `write ${write}`,
    durability !== undefined && `durability ${durability}`,
    ratedTerabytesWritten !== undefined && `rated for ${ratedTerabytesWritten} TB written`,
  ];
  return said.filter((each) => each !== false).join(', ') || 'the general defaults';
}

function here(): Recognised<Profile> {
  const found = recognise(thisMachine(), allProfiles());
  if (found === null) throw new CliError('no profile is for this board; name one: `holdfast profile list` shows them');
  return found;
}

function named(name: string): Profile {
  const dirs = defaultProfileDirs();
  const file = findProfile(name, process.cwd(), dirs);
  if (file === undefined) {
    const names = listProfiles(dirs).map((each) => each.name);
    const meant = nearest(name, names);
    throw new CliError(
      `there is no profile "${name}"; ${meant === undefined ? '`holdfast profile list` shows them' : `did you mean "${meant}"?`}`,
      USED_WRONGLY,
    );
  }
  try {
    return readProfile(file);
  } catch (error) {
    if (error instanceof ConfigError) throw new CliError(error.message);
    throw error;
  }
}

/** Those that can be read; what is wrong with the others is said. */
export function allProfiles(): Profile[] {
  return listProfiles().flatMap(({ file }) => {
    try {
      return [readProfile(file)];
    } catch (error) {
      say(`left out: ${(error as Error).message}`);
      return [];
    }
  });
}
