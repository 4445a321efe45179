import { connect, createServer, type Socket } from 'node:net';
import { contend } from './worker.ts';

/** A TCP proxy that hands everything on after a delay, each way; in order, at any rate. */

interface Args {
  readonly port: number;
  readonly target: number;
  readonly delayMs: number;
}

/** Hands on what comes from one socket to the other, `delayMs` later. */
function delayed(from: Socket, to: Socket, delayMs: number): void {
  const waiting: { readonly due: number; readonly chunk: Buffer }[] = [];
  let timer: NodeJS.Timeout | null = null;
  const pass = () => {
    timer = null;
    const now = performance.now();
    to.cork();
    // A timer may fire a fraction of a millisecond early.
    while (waiting.length > 0 && waiting[0]!.due <= now + 0.5) to.write(waiting.shift()!.chunk);
    to.uncork();
    if (waiting.length > 0) timer = setTimeout(pass, waiting[0]!.due - now);
  };
  from.on('data', (chunk: Buffer) => {
    waiting.push({ due: performance.now() + delayMs, chunk });
    timer ??= setTimeout(pass, delayMs);
  });
  from.on('close', () => setTimeout(() => to.destroy(), delayMs));
  from.on('error', () => from.destroy());
}

await contend<Args>(async ({ port, target, delayMs }) => {
  const server = createServer({ noDelay: true }, (client) => {
    const broker = connect({ port: target, host: '127.0.0.1', noDelay: true });
    delayed(client, broker, delayMs);
    delayed(broker, client, delayMs);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  // It never ends by itself.
  return () => new Promise(() => undefined);
});
