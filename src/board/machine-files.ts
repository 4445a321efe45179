import fs from 'node:fs';
import path from 'node:path';
import { syncFolder } from '../registry/private-file.ts';
import type { MachineFile, MachineLink } from './network-files.ts';

/** Some of the files are in their places already, and the rest cannot be. */
export class HalfWritten extends Error {
  constructor(written: readonly string[], cause: Error) {
    super(`${cause.message}; already written: ${written.join(', ')}`, { cause });
  }
}

/** Files of a machine whose root is a folder: `/` for this one. Every path is absolute in it. */
export class MachineFiles {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** Whether it is the machine that we run on. */
  get isThis(): boolean {
    return this.#root === '/';
  }

  /** For a sentence about what is there. */
  get where(): string {
    return this.isThis ? 'on this machine' : `in ${this.#root}`;
  }

  at(file: string): string {
    return path.join(this.#root, file);
  }

  exists(file: string): boolean {
    return fs.existsSync(this.at(file));
  }

  isFile(file: string): boolean {
    return fs.statSync(this.at(file), { throwIfNoEntry: false })?.isFile() === true;
  }

  /** Null when there is none. */
  read(file: string): string | null {
    return this.exists(file) ? fs.readFileSync(this.at(file), 'utf8') : null;
  }

  /** The files of a folder by their names, with their sizes in bytes; without hidden ones, as a power cut leaves them half-written. */
  sizes(folder: string): [string, number][] {
    if (!this.exists(folder)) return [];
    const size = (name: string) => fs.statSync(path.join(this.at(folder), name), { throwIfNoEntry: false })?.size ?? 0;
    const names = fs.readdirSync(this.at(folder)).filter((name) => !name.startsWith('.'));
    return names.map((name) => [name, size(name)]);
  }

  /** The number of a group or of a user, and where that one is at home; undefined when the machine has none of that name. */
  account(
    table: 'group' | 'passwd',
    name: string,
  ): { readonly id: number; readonly group: number; readonly home: string } | undefined {
    const line = this.read(`/etc/${table}`)
      ?.split('\n')
      .find((each) => each.startsWith(`${name}:`));
    if (line === undefined) return undefined;
    const [, , id, group, , home] = line.split(':');
    return { id: Number(id), group: Number(group), home: home ?? '' };
  }

  /**
   * Writes them all, or, when one cannot be written, none: each is whole on the medium under another name before the first takes
   * its own. Throws what the filesystem says, or a {@link HalfWritten} where one of them could not take its own any more.
   */
  write(files: readonly MachineFile[], links: readonly MachineLink[]): void {
    const fresh: { readonly from: string; readonly to: string }[] = [];
    const folders = new Set<string>();
    const begin = ({ path: file, owner, mode }: Partial<MachineFile> & { readonly path: string }): string => {
      const to = this.at(file);
      const folder = path.dirname(to);
      // Whose files are private, their folder is, too.
      const made = fs.mkdirSync(folder, { recursive: true, mode: mode === 0o600 ? 0o700 : 0o755 });
      if (made !== undefined && owner !== undefined && process.getuid?.() === 0)
        fs.chownSync(folder, owner.user, owner.group);
      folders.add(folder);
      // Hidden: no credential is called so.
      const from = path.join(folder, `.${path.basename(to)}.new`);
      fs.rmSync(from, { force: true });
      fresh.push({ from, to });
      return from;
    };
    try {
      for (const file of files) this.#writeWhole(begin(file), file);
      for (const link of links) fs.symlinkSync(link.to, begin(link));
    } catch (error) {
      removed(fresh);
      throw error;
    }
    const taken: string[] = [];
    try {
      for (const { from, to } of fresh) {
        fs.renameSync(from, to);
        taken.push(to);
      }
      for (const folder of folders) syncFolder(folder);
    } catch (error) {
      removed(fresh.slice(taken.length));
      throw taken.length === 0 ? error : new HalfWritten(taken, error as Error);
    }
  }

  remove(file: string): void {
    fs.rmSync(this.at(file), { force: true });
  }

  #writeWhole(at: string, { mode, text, group, owner }: MachineFile): void {
    const fd = fs.openSync(at, 'wx', mode);
    try {
      const readers = group === undefined ? undefined : this.account('group', group)?.id;
      // Who is not root tries things out in a folder of their own.
      if (process.getuid?.() === 0) fs.fchownSync(fd, owner?.user ?? 0, owner?.group ?? readers ?? 0);
      fs.fchmodSync(fd, mode);
      // Not `writeSync`: where there is no room for all of it, that writes a part, and does not fail.
      fs.writeFileSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  }
}

/** What cannot be removed stays: why it was to be matters more. */
function removed(fresh: readonly { readonly from: string }[]): void {
  for (const { from } of fresh) {
    try {
      fs.rmSync(from, { force: true });
    } catch {
      // On a medium that has become read-only.
    }
  }
}

/**
 * Takes a file away so that what stood in it cannot be read from the filesystem any more. A power cut leaves it under its own
 * name, whole, or under that with `.wiping`, for the next time. What a flash card's own controller keeps of it is out of reach.
 */
export function wipe(file: string): void {
  const going = `${file}.wiping`;
  if (fs.existsSync(file)) {
    fs.renameSync(file, going);
    syncFolder(path.dirname(file));
  }
  if (!fs.existsSync(going)) return;
  const fd = fs.openSync(going, 'r+');
  try {
    fs.writeSync(fd, Buffer.alloc(fs.fstatSync(fd).size), 0, null, 0);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.rmSync(going);
  syncFolder(path.dirname(file));
}
