import { createServer, type Server } from 'node:net';

/** Below those that Linux gives to whoever names none (32768 and up): none of these is anybody's by chance while its owner is away. */
const FIRST = 20_000;
const COUNT = 12_000;
/** An abstract Unix socket for each port that was given out: no other process of the tests is given the same until this one ends. */
const claims: Server[] = [];

/** A TCP port of this machine that nobody listens on now, and that is the caller's until the process ends. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    const claim = await listening({ path: `\0holdfast-test-port-${port}` });
    if (claim === null) continue;
    claims.push(claim.unref());
    const server = await listening({ port, host: '127.0.0.1' });
    if (server === null) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** Null: somebody listens there. */
function listening(place: { path: string } | { port: number; host: string }): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen(place, () => resolve(server));
  });
}
