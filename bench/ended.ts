import type { ChildProcess } from 'node:child_process';

const running = new Set<ChildProcess>();

// First of all: what they work in is removed then, and a spool that is taken away makes itself anew.
process.prependListener('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Resolves when a process of ours has ended. Should we end before it, it is killed. */
export async function ended(child: ChildProcess): Promise<void> {
  running.add(child);
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    // It could not be started.
    child.once('error', () => resolve());
  });
  running.delete(child);
}
