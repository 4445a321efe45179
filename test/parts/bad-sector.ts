import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratch } from './scratch.ts';
import { until } from './until.ts';

const SECTOR_BYTES = 512;

/** Why this machine has no bad sectors to offer; false when it has. */
export const NO_BAD_SECTORS: string | false =
  existsSync('/dev/fuse') && spawnSync('qemu-storage-daemon', ['--version']).status === 0
    ? false
    : 'SKIP: needs qemu-storage-daemon and FUSE, for a file with a bad sector';

/** A file as `path` is, of which the sectors at these places cannot be read (EIO). */
export async function withBadSectors(
  path: string,
  places: readonly number[],
): Promise<{ readonly path: string; readonly end: () => Promise<void> }> {
  const export_ = join(scratch(), 'data.mdb');
  writeFileSync(export_, '');
  const errors = places.map((at) => ({
    event: 'none',
    iotype: 'read',
    errno: 5,
    sector: Math.floor(at / SECTOR_BYTES),
    once: false,
  }));
  const file = { driver: 'file', 'node-name': 'file', filename: path, 'read-only': true };
  const bad = { driver: 'blkdebug', 'node-name': 'bad', image: 'file', 'inject-error': errors, 'read-only': true };
  const raw = { driver: 'raw', 'node-name': 'raw', file: 'bad', 'read-only': true };
  const fuse = { type: 'fuse', id: 'export', 'node-name': 'raw', mountpoint: export_, writable: false };
  const blockdevs = [file, bad, raw].flatMap((node) => ['--blockdev', JSON.stringify(node)]);
  const daemon = spawn('qemu-storage-daemon', [...blockdevs, '--export', JSON.stringify(fuse)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  daemon.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<void>((resolve) => daemon.once('close', () => resolve()));
  await until('the file with bad sectors', () => {
    if (daemon.exitCode !== null) throw new Error(`qemu-storage-daemon ended: ${said}`);
    return statSync(export_).size > 0;
  });
  return {
    path: export_,
    end: async () => {
      daemon.kill('SIGTERM');
      await ended;
    },
  };
}
