import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Dialer } from '../src/upstream/dialer.ts';
import { Resolver } from '../src/upstream/resolver.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { Authority } from './parts/certificates.ts';
import { startConnectProxy, type ConnectProxy } from './parts/connect-proxy.ts';
import { freePort } from './parts/free-port.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { startNameServer, type NameServer } from './parts/name-server.ts';
import { openSockets } from './parts/open-files.ts';
import { startRogueBroker, type RogueBroker } from './parts/rogue-broker.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';
import { UpstreamRig, type UpstreamRigOptions } from './parts/upstream-rig.ts';

const HOUR_MS = 3_600_000;
/** Waits after which everything that is made once has been made. */
const WARM_WAITS = 20;
/**
 * What an attempt may leave behind, bytes, the test's own notes of it included. A socket that is not let go of, or a session,
 * is some ten thousand.
 */
const LEFT_BYTES_MAX = 8000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What is live when all garbage is gone, bytes. */
async function liveBytes(): Promise<number> {
  collect();
  // What finalizers let go of is gone after the second time.
  await settle();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/**
 * An hour by the gateway's clock, with real sockets: an attempt that fails takes no time of it, one that hangs takes
 * `hangsMs`, and is given up then. `seen` counts attempts at the other end.
 */
async function anHour(
  context: { diagnostic(text: string): void },
  hangsMs: number,
  url: string,
  options: (clock: ManualClock) => UpstreamRigOptions = () => ({}),
  seen: (() => number) | null = null,
): Promise<UpstreamRig> {
  const clock = new ManualClock();
  // The middle of each range: a wait is half of its bound.
  const rig = await UpstreamRig.open(url, {
    reconnect: { minSecs: 1, maxSecs: 60 },
    random: () => 0.5,
    ...options(clock),
    clock,
  });
  await rig.fill(10);
  const sockets = openSockets();
  const end = clock.monotonic() + HOUR_MS;
  const waits: number[] = [];
  const seenBefore = seen?.() ?? 0;
  let live = 0;
  rig.upstream.start();
  while (clock.monotonic() < end) {
    if (hangsMs > 0) await clock.flow(hangsMs);
    await until('the end of the attempt', () => rig.upstream.snapshot().state === 'waiting');
    waits.push(rig.upstream.snapshot().retryInMs!);
    if (waits.length === WARM_WAITS) live = await liveBytes();
    await clock.flow(waits.at(-1)!);
    assert.notEqual(rig.upstream.snapshot().state, 'online');
  }
  const { attempts } = rig.upstream.snapshot();
  const left = Math.round(((await liveBytes()) - live) / (waits.length - WARM_WAITS));
  const lines = rig.complaints();
  // 0.5, 1, 2, 4, 8, 16 s, then 30 s each.
  assert.deepEqual(waits.slice(0, 7), [500, 1000, 2000, 4000, 8000, 16_000, 30_000]);
  assert.ok(attempts <= waits.length + 1, `${attempts} attempts in ${waits.length} waits`);
  if (seen !== null)
    await until(
      () => `${attempts} attempts at the other end`,
      () => seen() - seenBefore === attempts,
    );
  assert.ok(left <= LEFT_BYTES_MAX, `an attempt leaves ${left} bytes behind`);
  assert.equal(lines.length, 1, lines.join('\n'));
  await rig.upstream.stop();
  await settle();
  await until('the sockets to be closed', () => openSockets() <= sockets);
  // The spool's own timers stay.
  context.diagnostic(`${attempts} attempts, ${left} bytes left by each, ${lines.length} line: ${lines[0]}`);
  const ended = rig.end();
  await clock.flow(5000);
  await ended;
  return rig;
}

describe('an hour of a dead network costs an attempt for each wait, one line of log, no socket and no memory', () => {
  const servers: Server[] = [];
  let names: NameServer;
  let proxy: ConnectProxy;
  let encrypted: Mosquitto;
  let refusing: RogueBroker;
  before(async () => {
    names = await startNameServer();
    proxy = await startConnectProxy();
    const authority = new Authority(scratch());
    const { cert, key } = authority.issue('broker', 'IP:127.0.0.1');
    encrypted = await startMosquitto({ config: [`certfile ${cert}`, `keyfile ${key}`] });
    refusing = await startRogueBroker({ onConnect: (connection) => connection.refuse(0x88) });
  });
  after(async () => {
    await Promise.all([names.end(), proxy.end(), encrypted.end(), refusing.end()]);
    for (const server of servers) server.close();
  });

  test('nobody listens', async (context) => {
    await anHour(context, 0, `mqtt://127.0.0.1:${await freePort()}`);
  });
  test('somebody takes the connection and says nothing', async (context) => {
    let taken = 0;
    const silent = createServer((socket) => {
      taken++;
      socket.on('error', () => undefined).resume();
    });
    servers.push(silent);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const url = `mqtts://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    await anHour(context, 20_000, url, undefined, () => taken);
  });
  test('the name server is dead', async (context) => {
    names.silent = 'all';
    const dialer = (clock: ManualClock) =>
      new Dialer({ clock, resolver: new Resolver({ servers: [names.address], clock, book: null }) });
    await anHour(context, 8000, 'mqtt://broker.example', (clock) => ({ dialer: dialer(clock) }));
  });
  test('nobody knows the certificate', async (context) => {
    await anHour(context, 0, `mqtts://127.0.0.1:${encrypted.port}`);
  });
  test('the proxy does not reach the broker', async (context) => {
    const gone = await freePort();
    await anHour(context, 0, `wss://127.0.0.1:${gone}`, () => ({
      credentials: () => ({ tls: {}, proxy: { url: `http://127.0.0.1:${proxy.port}` } }),
    }));
  });
  test('the broker refuses us', async (context) => {
    await anHour(context, 0, refusing.url, undefined, () => refusing.connections.length);
  });
});
