import { createServer } from 'node:net';

/** Below what the kernel gives to who asks for any port: nobody else comes upon one of these by chance. */
const FIRST = 20_000;
const COUNT = 12_000;

/** Files of tests that run at once look in different places. */
let next = (process.pid * 37) % COUNT;

/**
 * A TCP port of this machine that nobody listens on now. It stays this process's until that ends: no other test is given it before
 * it is used, or while who listens there is away.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < COUNT; tries++) {
    const port = FIRST + next;
    next = (next + 1) % COUNT;
    if ((await isKept(port)) && (await isFree(port))) return port;
  }
  throw new Error(`each port from ${FIRST} to ${FIRST + COUNT - 1} is taken`);
}

/** Whether the port could be marked as ours. An abstract socket is gone with its process, however that ends. */
function isKept(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const mark = createServer().unref();
    mark.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    mark.listen(`\0holdfast-test-port-${port}`, () => resolve(true));
  });
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}
