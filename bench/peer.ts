import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './worker.ts';

/** Packages that Holdfast is compared with; they are no dependencies, and live in folders that git ignores. */
const PEERS = {
  level: ['mqtt@5.16.0', 'mqtt-level-store@3.1.0'],
  sqlite: ['better-sqlite3@12.11.1'],
} as const;

/**
 * Installs a peer when it is not there, which takes a minute where it must be compiled; returns the folder whose
 * `node_modules` has it, or null when that cannot be done (no network, no compiler).
 */
export function peerFolder(peer: keyof typeof PEERS): string | null {
  const folder = join(ROOT, '.scratch', 'peers', peer);
  const installed = join(folder, 'installed');
  if (existsSync(installed)) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  try {
    execFileSync('npm', ['install', '--no-audit', '--no-fund', ...PEERS[peer]], { cwd: folder, stdio: 'pipe' });
    writeFileSync(installed, '');
    return folder;
  } catch {
    return null;
  }
}
