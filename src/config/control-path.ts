import { createHash } from 'node:crypto';
import { accessSync, constants, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Longest path of a Unix socket, bytes (sun_path of unix(7), with its closing zero). */
const SOCKET_PATH_BYTES_MAX = 107;

/** Folders in memory where a gateway answers whose `dataDir` cannot be written: systemd's RuntimeDirectory, or anybody's. */
const IN_MEMORY = ['/run/holdfast', '/dev/shm'];

/** Where the command line finds the gateway of a `dataDir`: in memory when there is a socket of it, else at its own place. */
export function controlPath(dataDir: string): string {
  return lateSockets(dataDir)[0] ?? ownControlPath(dataDir);
}

/** The sockets in memory that are there, of a gateway that runs or ran with this `dataDir`. */
export function lateSockets(dataDir: string): readonly string[] {
  const owners = [0, process.getuid?.(), ownerOf(dataDir)];
  return lateControlPaths(dataDir).filter((path) => {
    const owner = ownerOf(path);
    // Anybody may put something into /dev/shm.
    return owner !== undefined && owners.includes(owner);
  });
}

/** Where the gateway of a `dataDir` answers the command line: in it, or under a short name made from it when it is deep. */
export function ownControlPath(dataDir: string): string {
  const path = join(dataDir, 'holdfast.sock');
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return path;
  // Not in /tmp where there is another: a service has one of its own, which no tool sees.
  return lateControlPaths(dataDir).find((short) => mayWrite(dirname(short))) ?? join(tmpdir(), shortName(dataDir));
}

/** Where it answers while that cannot be written: the first of them that can be. */
export function lateControlPaths(dataDir: string): readonly string[] {
  return IN_MEMORY.map((folder) => join(folder, shortName(dataDir)));
}

function shortName(dataDir: string): string {
  return `holdfast-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}.sock`;
}

function mayWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function ownerOf(path: string): number | undefined {
  try {
    return statSync(path).uid;
  } catch {
    return undefined;
  }
}
