import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Longest path of a Unix socket, bytes (sun_path of unix(7), with its closing zero). */
const SOCKET_PATH_BYTES_MAX = 107;

/** Where the gateway of a `dataDir` answers the command line: in it, or under a short name made from it when it is deep. */
export function controlPath(dataDir: string): string {
  const path = join(dataDir, 'holdfast.sock');
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return path;
  return join(tmpdir(), `holdfast-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}.sock`);
}
