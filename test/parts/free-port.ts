import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Where a Linux kernel begins with the ports that it gives to whoever asks for any. */
const KERNELS_FROM = 32_768;
const FIRST = 10_000;

/**
 * A TCP port of this machine that nobody listens on now, and that is this process's until it ends, also while nobody listens there:
 * it is none of those that the kernel gives to connections and listeners that ask for any, and other tests are kept away from it by
 * the UDP port of the same number.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    const port = FIRST + Math.floor(Math.random() * (kernelsFrom() - FIRST));
    if ((await claimed(port)) && (await nobodyListens(port))) return port;
  }
  throw new Error('no port is free');
}

function kernelsFrom(): number {
  try {
    const from = Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10);
    return from > FIRST + 1000 ? from : KERNELS_FROM;
  } catch {
    return KERNELS_FROM;
  }
}

function claimed(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const claim = createSocket('udp4').unref();
    claim.once('error', () => claim.close(() => resolve(false)));
    claim.bind({ port, address: '127.0.0.1', exclusive: true }, () => resolve(true));
  });
}

function nobodyListens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
