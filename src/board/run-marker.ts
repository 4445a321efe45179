import { closeSync, fsyncSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';

/** A file that is there while something goes on, and so also after a crash or a power cut in the midst of it. */
export class RunMarker {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * It goes on from now; durable on return. Whether it did not end the last time: also true where the file cannot be made,
   * since then nobody can know.
   */
  begin(): boolean {
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
      const file = openSync(this.#path, 'wx', 0o600);
      fsyncSync(file);
      closeSync(file);
      const folder = openSync(dirname(this.#path), 'r');
      fsyncSync(folder);
      closeSync(folder);
      return false;
    } catch {
      return true;
    }
  }

  /** It has ended as it should. */
  end(): void {
    try {
      rmSync(this.#path, { force: true });
    } catch {
      // On a medium that cannot be written any more: the next start begins as after a crash.
    }
  }
}
