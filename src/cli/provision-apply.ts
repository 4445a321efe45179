import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { HalfWritten, wipe } from '../board/machine-files.ts';
import { provisionMachine, type Applied } from '../board/provisioning.ts';
import { recognise, thisMachine } from '../board/recognition.ts';
import { ConfigError } from '../config/load.ts';
import { VERSION } from '../config/version.ts';
import { writePrivate } from '../registry/private-file.ts';
import { CliError, FINE, printJson, say } from './output.ts';
import { allProfiles } from './profile.ts';

/** Where the boot partition is: on Debian and Raspberry Pi OS from 12 on, and before. */
const PLACES = ['/boot/firmware/holdfast-provision.yaml', '/boot/holdfast-provision.yaml'];

export interface ProvisionApplyOptions {
  readonly root: string;
  readonly json?: boolean;
}

/** `holdfast provision apply [FILE]`: once, from the boot partition of a fresh card; or by hand, into the card's files. */
export async function provisionApply(
  named: string | undefined,
  { root: folder, json }: ProvisionApplyOptions,
): Promise<number> {
  const root = machineRoot(folder);
  const here = root === '/';
  const places = named === undefined ? PLACES.map((place) => join(root, place)) : [named];
  const file = places.find((place) => existsSync(place) || existsSync(`${place}.wiping`));
  if (file === undefined) throw new CliError(`there is no ${places.join(', and no ')}: nothing to take over`);
  // Only what lies there is taken over by a machine that starts.
  const fromBoot = PLACES.some((place) => resolve(root, `.${place}`) === resolve(file));
  const stem = file.replace(/\.ya?ml$/, '');
  return withWriteAccess(dirname(file), () => {
    if (!existsSync(file)) {
      wipe(file);
      say(`${file}: what was left of it is wiped`);
      return FINE;
    }
    let applied: Applied;
    try {
      applied = provisionMachine(file, root, here ? boardHere() : null);
    } catch (error) {
      const why = (error as Error).message;
      const next = fromBoot ? 'start the gateway again' : 'apply it again';
      const half = error instanceof HalfWritten;
      const what = half
        ? `Only a part of ${file} was taken over`
        : `Nothing of ${file} was taken over, nothing was changed`;
      const text = `${what}:\n\n${why}\n\nCorrect it, and ${next}.\n`;
      leftFor(`${stem}.error.txt`, text);
      if (error instanceof ConfigError) throw new CliError(`nothing was taken over:\n${why}`);
      if (half) throw new CliError(`only a part of ${file} was taken over:\n${why}`);
      throw error;
    }
    const { done: taken, warnings } = applied;
    const lines = [
      `Taken over by Holdfast ${VERSION}${here ? '' : `, into ${root}`}, ${new Date().toISOString()}:`,
      ...taken.map((each) => `- ${each}`),
      ...warnings.map((each) => `Warning: ${each}`),
    ];
    const again = fromBoot ? 'put a new one here to change it' : 'to change something, apply a new one';
    // Before the wiping: the next start finds one or the other, and may apply it once more.
    const done = () => leftFor(`${stem}.done`, `${lines.join('\n')}\nThe file itself was wiped; ${again}.\n`);
    rmSync(`${stem}.error.txt`, { force: true });
    const left = done();
    wipe(file);
    // Where that has made room.
    if (!left) done();
    if (json === true) printJson({ applied: taken, warnings });
    else for (const line of lines) say(line);
    if (here) spawnSync('hostname', ['-F', '/etc/hostname']);
    return FINE;
  });
}

/** A folder with a machine in it: a slip, or a card that is not mounted, must not have the only copy of the secrets wiped. */
function machineRoot(folder: string): string {
  if (!existsSync(folder)) throw new CliError(`there is no ${folder}: is the card mounted?`);
  if (!existsSync(`${folder}/etc/.`))
    throw new CliError(
      `${folder} is not the root of a machine, it has no folder etc: is the card's root partition there?`,
    );
  return resolve(folder);
}

function boardHere(): string | null {
  return recognise(thisMachine(), allProfiles())?.profile.name ?? null;
}

/** Read on any PC that the card is put into: with the line ends that all of them show. False where there is no room for it, which is said. */
function leftFor(file: string, text: string): boolean {
  try {
    writePrivate(file, text.replaceAll('\n', '\r\n'));
    return true;
  } catch (error) {
    say(`${file} cannot be written: ${(error as Error).message}`);
    return false;
  }
}

/** The boot partition of an image is mounted read-only, and is so again afterwards. */
function withWriteAccess(folder: string, act: () => number): number {
  if (writable(folder)) return act();
  const { stdout } = spawnSync('findmnt', ['-n', '-o', 'TARGET', '-T', folder], { encoding: 'utf8' });
  const mount = (access: string) =>
    spawnSync('mount', ['-o', `remount,${access}`, stdout.trim()], { encoding: 'utf8' });
  const { status, stderr } = mount('rw');
  if (status !== 0)
    throw new CliError(`${stdout.trim()} is mounted read-only, and cannot be made writable: ${stderr.trim()}`);
  try {
    return act();
  } finally {
    mount('ro');
  }
}

/** Whether its filesystem is mounted for writing; a full one is. */
function writable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EROFS') throw error;
    return false;
  }
}
