import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './worker.ts';

/** Packages that Holdfast is compared with; they are no dependencies, and live in a folder that git ignores. */
const PEERS = ['mqtt@5.16.0', 'mqtt-level-store@3.1.0'];

/** Installs them when they are not there; returns the folder, or null when that cannot be done (no network). */
export function peerFolder(): string | null {
  const folder = join(ROOT, '.scratch', 'peers');
  if (PEERS.every((peer) => existsSync(join(folder, 'node_modules', peer.split('@')[0]!)))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  try {
    execFileSync('npm', ['install', '--no-audit', '--no-fund', ...PEERS], { cwd: folder, stdio: 'pipe' });
    return folder;
  } catch {
    return null;
  }
}
