import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { State } from '../src/store/state.ts';
import { inTurns, race, type Address } from '../src/upstream/address-race.ts';
import { Resolver, type AddressBook } from '../src/upstream/resolver.ts';
import { ManualClock } from './manual-clock.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { startNameServer, type NameServer } from './parts/name-server.ts';
import { scratch } from './parts/scratch.ts';
import { systemClock } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const NAME = 'broker.example';
const never = new AbortController().signal;
const texts = ({ addresses }: { readonly addresses: readonly Address[] }) => addresses.map(({ address }) => address);

async function withServer(
  zone: Readonly<Record<string, readonly string[]>>,
  act: (server: NameServer, resolver: (book?: AddressBook | null) => Resolver, clock: ManualClock) => Promise<void>,
): Promise<void> {
  const server = await startNameServer(zone);
  const clock = new ManualClock();
  try {
    await act(server, (book = null) => new Resolver({ servers: [server.address], clock, book }), clock);
  } finally {
    await server.end();
  }
}

test('both families are asked for, and the answer counts for its time to live', async () => {
  await withServer({ [NAME]: ['192.0.2.7', '2001:db8::7'] }, async (server, resolver, clock) => {
    const one = resolver();
    const answer = await one.resolve(NAME, never);
    assert.deepEqual([answer.from, texts(answer).toSorted()], ['servers', ['192.0.2.7', '2001:db8::7']]);
    await one.resolve(NAME, never);
    assert.equal(server.questions, 2);
    clock.advance(60_001);
    await one.resolve(NAME, never);
    assert.equal(server.questions, 4);
    one.doubt(NAME);
    await one.resolve(NAME, never);
    assert.equal(server.questions, 6);
  });
});

test('a server that answers for one family only holds up nobody', async () => {
  const server = await startNameServer({ [NAME]: ['192.0.2.7', '2001:db8::7'] });
  server.silent = 6;
  const resolver = new Resolver({ servers: [server.address], clock: systemClock, book: null });
  try {
    assert.deepEqual(texts(await resolver.resolve(NAME, never)), ['192.0.2.7']);
  } finally {
    await server.end();
  }
});

test('a name that is not there, and a server that says nothing, are told apart', async () => {
  await withServer({}, async (server, resolver, clock) => {
    await assert.rejects(resolver().resolve(NAME, never), {
      stage: 'dns',
      message: 'broker.example: nobody knows the name',
    });
    server.silent = 'all';
    const asked = resolver().resolve(NAME, never);
    clock.advance(8000);
    await assert.rejects(asked, { message: `broker.example: no answer from ${server.address} (ETIMEOUT)` });
  });
});

test('the last known addresses outlive the name server, and a restart', async () => {
  const dir = scratch();
  await withServer({ [NAME]: ['192.0.2.7', '2001:db8::7'] }, async (server, resolver, clock) => {
    const before = new State(join(dir, 'state'));
    await resolver(before).resolve(NAME, never);
    await before.close();
    const after = new State(join(dir, 'state'));
    server.silent = 'all';
    const asked = resolver(after).resolve(NAME, never);
    clock.advance(2500);
    const answer = await asked;
    assert.deepEqual([answer.from, texts(answer).toSorted()], ['kept', ['192.0.2.7', '2001:db8::7']]);
    assert.match(answer.trouble!, /no answer from/);
    // What changes is kept, but not with every turn of a name that has many addresses.
    server.silent = null;
    let writes = 0;
    const counting: AddressBook = {
      get: (name) => after.get(name),
      put: (name, value) => (writes++, after.put(name, value)),
    };
    const busy = resolver(counting);
    for (let n = 1; n <= 20; n++) {
      server.zone.set(NAME, [`192.0.2.${n}`]);
      await busy.resolve(NAME, never);
      busy.doubt(NAME);
    }
    assert.equal(writes, 1);
    clock.advance(3_600_000);
    await busy.resolve(NAME, never);
    assert.equal(writes, 2);
    await after.close();
  });
});

test('/etc/hosts comes before the name servers', async () => {
  const hostsFile = join(scratch(), 'hosts');
  writeFileSync(
    hostsFile,
    '# 192.0.2.1 broker.example\n192.0.2.2\tother Broker.Example # x\n2001:db8::2 broker.example\n',
  );
  const resolver = new Resolver({ servers: ['127.0.0.1:9'], clock: systemClock, book: null, hostsFile });
  const answer = await resolver.resolve(NAME, never);
  assert.deepEqual([answer.from, texts(answer)], ['hosts', ['192.0.2.2', '2001:db8::2']]);
});

test('a question that hangs is not asked again with each attempt', async () => {
  await withServer({}, async (server, resolver, clock) => {
    server.silent = 'all';
    const one = resolver();
    const asked = [one.resolve(NAME, never), one.resolve(NAME, never), one.resolve(NAME, never)];
    await until('the questions', () => server.questions >= 2);
    assert.equal(server.questions, 2);
    clock.advance(8000);
    for (const each of await Promise.allSettled(asked)) assert.equal(each.status, 'rejected');
  });
});

test('addresses are tried by turns of each family, the next at once when one fails', async () => {
  const mixed: Address[] = [
    { address: '192.0.2.1', family: 4 },
    { address: '192.0.2.2', family: 4 },
    { address: '2001:db8::1', family: 6 },
  ];
  const order = (first: 4 | 6) => inTurns(mixed, first).map(({ address }) => address);
  assert.deepEqual(order(6), ['2001:db8::1', '192.0.2.1', '192.0.2.2']);
  assert.deepEqual(order(4), ['192.0.2.1', '2001:db8::1', '192.0.2.2']);

  const listening = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.2', resolve));
  const { port } = listening.address() as AddressInfo;
  const clock = new ManualClock();
  const both: Address[] = [
    { address: '127.9.9.9', family: 4 },
    { address: '127.0.0.2', family: 4 },
  ];
  // Nobody listens at the first, where no other test has anything to do: the second is tried at once, the clock standing still.
  const socket = await race(both, port, clock, never);
  assert.equal(socket.remoteAddress, '127.0.0.2');
  assert.equal(clock.timers, 0);
  socket.destroy();
  listening.close();
});

test('a gateway that boots without DNS finds its broker', async () => {
  const mosquitto = await startMosquitto();
  const server = await startNameServer({ [NAME]: ['127.0.0.1'] });
  const dir = scratch();
  const yaml = `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream: { url: "mqtt://${NAME}:${mosquitto.port}", dnsServers: ["${server.address}"] }
`;
  try {
    for (const silent of [null, 'all'] as const) {
      server.silent = silent;
      const gateway = await startGateway({ dir, yaml });
      await gateway.waitForLog(/"connected to mqtt:/);
      assert.equal(await gateway.stop(), 0);
      const complaints = gateway.messages().filter((msg) => msg.includes('last known addresses'));
      assert.equal(complaints.length, silent === null ? 0 : 1, complaints.join('\n'));
    }
  } finally {
    await server.end();
    await mosquitto.end();
  }
});
