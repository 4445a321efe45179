import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { LinkWatch } from '../../src/upstream/link-watch.ts';
import { inTurns, race, type Address } from '../../src/upstream/address-race.ts';
import { Dialer } from '../../src/upstream/dialer.ts';
import { Resolver } from '../../src/upstream/resolver.ts';
import { ManualClock } from '../manual-clock.ts';
import { freePort } from './free-port.ts';
import { startMosquitto } from './mosquitto.ts';
import { openSockets } from './open-files.ts';
import { scratch } from './scratch.ts';
import { systemClock } from './spool-rig.ts';
import { UpstreamRig } from './upstream-rig.ts';
import { until } from './until.ts';

/*
 * Runs in a network namespace of its own (`unshare --net`), with a cable between two of its interfaces. Taking down the far
 * one takes the carrier from the near one, as pulling the cable does.
 */

const HERE = '198.18.0.1';
const NOBODY = ['198.18.0.2', '198.18.0.3'];
const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' });

ip('link', 'set', 'lo', 'up');
ip('link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far');
ip('address', 'add', `${HERE}/24`, 'dev', 'near');
for (const end of ['near', 'far']) ip('link', 'set', end, 'up');
// What is sent to these goes down the cable, and nobody is there to take it: a black hole.
for (const nobody of NOBODY) ip('neighbour', 'add', nobody, 'lladdr', '02:00:00:00:00:01', 'dev', 'near');
const listed = () => networkInterfaces()['near']?.some(({ address }) => address === HERE) ?? false;
await until('the carrier', listed);

async function linkGoesAndComes(): Promise<void> {
  const port = await freePort();
  const mosquitto = await startMosquitto({ port, config: [`listener ${port} ${HERE}`] });
  const clock = new ManualClock();
  const rig = await UpstreamRig.open(`mqtt://${HERE}:${port}`, {
    clock,
    keepaliveSecs: 3600,
    reconnect: { minSecs: 5, maxSecs: 3600 },
    random: () => 1,
  });
  const { upstream } = rig;
  const waiting = () => until('an end of the attempt', () => upstream.snapshot().state === 'waiting');
  try {
    upstream.start();
    await until('the connection', () => upstream.snapshot().state === 'online');
    const pulled = performance.now();
    ip('link', 'set', 'far', 'down');
    await until('the kernel to notice', () => !listed());
    process.stdout.write(`the kernel says so after ${(performance.now() - pulled).toFixed(0)} ms; `);
    await clock.flow(1000);
    assert.equal(upstream.snapshot().state, 'waiting');
    assert.equal(upstream.snapshot().lastError, 'the network link went down');
    // It is at an address of this machine's own, which can be reached without a cable.
    await mosquitto.stop();
    // 5, 10, 20, 40, 80 and 160 s: the next would come in 320 s.
    for (let attempt = 2; attempt <= 7; attempt++) {
      await clock.flow(upstream.snapshot().retryInMs!);
      await waiting();
      assert.equal(upstream.snapshot().attempts, attempt);
    }
    assert.ok(upstream.snapshot().retryInMs! > 200_000, String(upstream.snapshot().retryInMs));
    await mosquitto.start();
    ip('link', 'set', 'far', 'up');
    await until('the kernel to notice', listed);
    // At once, but for `minSecs` since the last attempt.
    await clock.flow(5000);
    await until('the connection', () => upstream.snapshot().state === 'online');
    assert.equal(upstream.snapshot().attempts, 8);
  } finally {
    const ended = rig.end();
    await clock.flow(5000);
    await ended;
    await mosquitto.end();
  }
}

async function blackHole(): Promise<void> {
  const addresses: Address[] = [
    ...NOBODY.map((address): Address => ({ address, family: 4 })),
    { address: '127.0.0.1', family: 4 },
  ];
  const mosquitto = await startMosquitto();
  const before = openSockets();
  const clock = new ManualClock();
  let connected = false;
  const racing = race(inTurns(addresses, 4), mosquitto.port, clock, new AbortController().signal);
  void racing.then(() => (connected = true));
  await clock.flow(499);
  assert.equal(connected, false);
  await clock.flow(1);
  const socket = await racing;
  assert.equal(socket.remoteAddress, '127.0.0.1');
  socket.destroy();
  await until('the other attempts to be gone', () => openSockets() <= before);
  await mosquitto.end();
}

/** Version 6 goes nowhere: the first attempt waits 250 ms for it, the second does not ask. */
async function familyThatGetsThrough(): Promise<void> {
  ip('-6', 'address', 'add', 'fd00::1/64', 'dev', 'near', 'nodad');
  ip('-6', 'neighbour', 'add', 'fd00::2', 'lladdr', '02:00:00:00:00:01', 'dev', 'near');
  const hostsFile = join(scratch(), 'hosts');
  writeFileSync(hostsFile, '127.0.0.1 broker.example\nfd00::2 broker.example\n');
  const mosquitto = await startMosquitto();
  const clock = new ManualClock();
  const resolver = new Resolver({ servers: [HERE], clock, book: null, hostsFile });
  const dialer = new Dialer({ clock, resolver });
  const reach = () =>
    dialer.reach({ url: `mqtt://broker.example:${mosquitto.port}`, tls: {} }, 5000, new AbortController().signal);
  let connected = false;
  const first = reach();
  void first.then(() => (connected = true));
  await clock.flow(249);
  assert.equal(connected, false);
  await clock.flow(1);
  (await first).destroy();
  (await reach()).destroy();
  await mosquitto.end();
}

function costOfLooking(): void {
  const began = performance.now();
  for (let n = 0; n < 1000; n++) new LinkWatch(systemClock).onGone('192.0.2.1', () => undefined);
  process.stdout.write(`one look at the links takes ${((performance.now() - began) * 1).toFixed(0)} us\n`);
}

await linkGoesAndComes();
await blackHole();
await familyThatGetsThrough();
costOfLooking();
process.stdout.write('done\n');
process.exit(0);
