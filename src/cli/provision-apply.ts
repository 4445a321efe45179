import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { wipe } from '../board/machine-files.ts';
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

/** `holdfast provision apply [FILE]`: once, from the boot partition of a fresh card. */
export async function provisionApply(
  named: string | undefined,
  { root, json }: ProvisionApplyOptions,
): Promise<number> {
  const places = named === undefined ? PLACES.map((place) => join(root, place)) : [named];
  const file = places.find((place) => existsSync(place) || existsSync(`${place}.wiping`));
  if (file === undefined) throw new CliError(`there is no ${places.join(', and no ')}: nothing to take over`);
  const stem = file.replace(/\.ya?ml$/, '');
  return withWriteAccess(stem, () => {
    if (!existsSync(file)) {
      wipe(file);
      say(`${file}: what was left of it is wiped`);
      return FINE;
    }
    let applied: Applied;
    try {
      applied = provisionMachine(file, root, root === '/' ? boardHere() : null);
    } catch (error) {
      const why = (error as Error).message;
      const text = `Nothing of ${file} was taken over, nothing was changed:\n\n${why}\n\nCorrect it, and start the gateway again.\n`;
      forReaders(`${stem}.error.txt`, text);
      if (error instanceof ConfigError) throw new CliError(`nothing was taken over:\n${why}`);
      throw error;
    }
    const lines = [
      `Taken over by Holdfast ${VERSION}, ${new Date().toISOString()}:`,
      ...applied.map((each) => `- ${each}`),
    ];
    // Before the wiping: the next start finds one or the other, and may apply it once more.
    forReaders(`${stem}.done`, `${lines.join('\n')}\nThe file itself was wiped; put a new one here to change it.\n`);
    rmSync(`${stem}.error.txt`, { force: true });
    wipe(file);
    if (json === true) printJson({ applied });
    else for (const line of lines) say(line);
    if (root === '/') spawnSync('hostname', ['-F', '/etc/hostname']);
    return FINE;
  });
}

/** A folder is another machine's. */
function boardHere(): string | null {
  return recognise(thisMachine(), allProfiles())?.profile.name ?? null;
}

/** Read on any PC that the card is put into: with the line ends that all of them show. */
function forReaders(file: string, text: string): void {
  writePrivate(file, text.replaceAll('\n', '\r\n'));
}

/** The boot partition of an image is mounted read-only, and is so again afterwards. */
function withWriteAccess(stem: string, act: () => number): number {
  const probe = `${stem}.probe`;
  try {
    mkdirSync(probe);
    rmSync(probe, { recursive: true });
    return act();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EROFS') throw error;
  }
  const { stdout } = spawnSync('findmnt', ['-n', '-o', 'TARGET', '-T', stem.slice(0, stem.lastIndexOf('/'))], {
    encoding: 'utf8',
  });
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
