import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './worker.ts';

/** What is measured against; not a dependency, since only this bench has a use for it. */
export const NODE_RED_VERSION = '4.1.8';

/** The folder that Node-RED is installed in, which is done when it is first asked for; null when that cannot be done (no network). */
export function nodeRed(): string | null {
  const folder = join(ROOT, '.scratch', 'node-red');
  const manifest = join(folder, 'node_modules', 'node-red', 'package.json');
  if (versionOf(manifest) === NODE_RED_VERSION) return folder;
  mkdirSync(folder, { recursive: true });
  const options = ['--no-audit', '--no-fund', '--ignore-scripts', '--no-save', '--prefix', folder];
  try {
    execFileSync('npm', ['install', ...options, `node-red@${NODE_RED_VERSION}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  } catch {
    return null;
  }
  return versionOf(manifest) === NODE_RED_VERSION ? folder : null;
}

function versionOf(manifest: string): string | null {
  if (!existsSync(manifest)) return null;
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}
