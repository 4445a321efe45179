import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const there = new Set<Folder>();

process.on('exit', () => {
  for (const folder of there) folder.remove();
});

/** A folder of its own for `name` among the temporary ones; it goes when this process ends, if it is not removed before. */
export class Folder {
  readonly path: string;

  constructor(name: string) {
    this.path = mkdtempSync(join(tmpdir(), `holdfast-bench-${name}-`));
    there.add(this);
  }

  remove(): void {
    there.delete(this);
    rmSync(this.path, { recursive: true, force: true });
  }
}
