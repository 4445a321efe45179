import { extname, join } from 'node:path';

/** `.js` where `npm test` has compiled this, `.ts` where a test file is run by hand through tsx. */
const EXTENSION = extname(import.meta.filename);
const ROOT = join(import.meta.filename, '../../..');

/** What node needs to know before it runs one of them. */
export const NODE_FLAGS: readonly string[] = EXTENSION === '.ts' ? ['--import', 'tsx'] : ['--enable-source-maps'];

/** The file that runs for the source at `path`, below the project's root and without its `.ts`. */
export function runnable(path: string): string {
  return join(ROOT, `${path}${EXTENSION}`);
}

/** Arguments with which node runs it in a process of its own. */
export function script(path: string): string[] {
  return [...NODE_FLAGS, runnable(path)];
}
