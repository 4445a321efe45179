import { FINE, FOUND_A_PROBLEM, say } from './output.ts';

/** For every command that only shows things: how it ends when the world does not let it end by itself. */
export function endTidily(): void {
  // `holdfast logs -f | head`: nobody reads on, so there is nothing more to do, and nothing to complain about.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(FINE);
      process.exit(FOUND_A_PROBLEM);
    });
  }
  process.on('uncaughtException', (error) => {
    say(crashText(error));
    process.exit(FOUND_A_PROBLEM);
  });
}

/** One line for what went wrong; all of it with HOLDFAST_DEBUG=1. */
export function crashText(error: unknown): string {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  return `holdfast: ${process.env['HOLDFAST_DEBUG'] === '1' && stack !== undefined ? stack : message}`;
}

/** Aborts at Ctrl-C or SIGTERM: whoever follows something has then seen enough, and the command ends with 0. */
export function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}
