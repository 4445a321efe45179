import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folders: string[] = [];

/** An empty folder. It goes when the test file has ended, after every process that a test may still be ending in it. */
export function scratch(): string {
  if (folders.length === 0) {
    process.once('exit', () => {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    });
  }
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  folders.push(folder);
  return folder;
}
