import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folders: string[] = [];

/** An empty folder. It goes when the test file has ended, after every process that a test may still be ending in it. */
export function scratch(): string {
  if (folders.length === 0) {
    process.once('exit', () => {
      for (const folder of folders) {
        try {
          rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
        } catch (error) {
          // What somebody holds on to makes no test a failure that has passed.
          process.stderr.write(`${folder} is left behind: ${String(error)}\n`);
        }
      }
    });
  }
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  folders.push(folder);
  return folder;
}
