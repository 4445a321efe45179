import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import type { IPublishPacket, ISubackPacket } from 'mqtt-packet';
import { loadConfig } from '../src/config/load.ts';
import { limitsOf } from '../src/hub/front.ts';
import { LIMITS } from '../src/hub/limits.ts';
import { MailboxFull } from '../src/hub/mailbox.ts';
import { Awake } from './parts/awake.ts';
import { AUTHORITY, CertificateMaker } from './parts/child-certificates.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { Doorkeeper, GATEWAY, hubRig, RawClient } from './parts/hub-rig.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const OWN = `holdfast/v1/${GATEWAY}`;

describe('a hub that runs', () => {
  test('takes other limits for who is in and who comes, and lets those stay who are too many', async () => {
    const { hub, port, backroom } = await hubRig({ limits: { messagesPerSec: 1 } });
    const [first, second] = [await RawClient.join(port, 'press-1'), await RawClient.join(port, 'press-2')];
    try {
      for (let id = 1; id <= 100; id++) first.publish(`${OWN}/press-1/events`, `${id}`, id);
      await first.bell.until('the first PUBACK', () => first.packets.length > 0);
      hub.setLimits({ ...LIMITS, clientsMax: 1, subscriptionsMax: 1, queuedMax: 1 });
      // One that waits for its turn under the old rate; at one a second all would take a minute and a half.
      await first.bell.until('all PUBACKs', () => first.packets.length === 100);
      assert.equal(backroom.bodies('press-1').length, 100);
      second.subscribe(1, `${OWN}/press-2/commands`, `${OWN}/press-2/inputs/#`);
      assert.deepEqual(((await second.next()) as ISubackPacket).granted, [1, 0x80]);
      await assert.rejects(RawClient.join(port, 'press-3'), /not let in: .*"returnCode":3/);
      const message = { body: Buffer.from('x') };
      await hub.deliver('absent', null, 'command', message, null);
      await assert.rejects(hub.deliver('absent', null, 'command', message, null), MailboxFull);
    } finally {
      for (const { socket } of [first, second]) socket.destroy();
      await hub.stop();
    }
  });

  test('takes other limits for a gateway that is in as for one that comes: it may say eight times as much as a child', async () => {
    const doorkeeper = new Doorkeeper();
    const admit = doorkeeper.admit.bind(doorkeeper);
    doorkeeper.admit = async (presented) => {
      const admission = await admit(presented);
      return 'client' in admission ? { client: { ...admission.client, gateway: true } } : admission;
    };
    const { hub, port } = await hubRig({ doorkeeper });
    const site = await RawClient.join(port, 'site');
    try {
      hub.setLimits({ ...LIMITS, messagesPerSec: 10 });
      const awake = new Awake();
      for (let id = 1; id <= 100; id++) site.publish(`${OWN}/site/events`, `${id}`, id);
      await site.bell.until('all PUBACKs', () => site.packets.length === 100);
      const ms = awake.stop();
      assert.ok(ms < 4000, `100 messages at 80 a second, the first 80 at once, took ${ms} ms`);
    } finally {
      site.socket.destroy();
      await hub.stop();
    }
  });

  test('that finds its port taken is told nothing any more: the next try is another one', async () => {
    const first = await hubRig();
    const doorkeeper = new Doorkeeper();
    const listen = { mqtt: { host: '127.0.0.1', port: first.port } };
    await assert.rejects(hubRig({ doorkeeper, listen }), /EADDRINUSE/);
    assert.deepEqual([first.doorkeeper.listeners, doorkeeper.listeners], [1, 0]);
    await first.hub.stop();
    assert.equal(first.doorkeeper.listeners, 0);
  });

  test('cuts off whoever may not stay, and ends what is not granted any more', async () => {
    const { hub, port, doorkeeper, store } = await hubRig();
    doorkeeper.grants.set('board', { observe: ['#'] });
    const [board, press] = [
      await RawClient.join(port, 'board', { clean: false }),
      await RawClient.join(port, 'press-1'),
    ];
    try {
      board.subscribe(1, `${OWN}/+/events`, `${OWN}/board/commands`);
      assert.deepEqual(((await board.next()) as ISubackPacket).granted, [1, 1]);
      doorkeeper.objections.set('press-1', 'its certificate is revoked');
      doorkeeper.grants.delete('board');
      hub.reconsider();
      await press.untilClosed();
      assert.equal(board.closed, false);
      await until('the record of its subscriptions', () => {
        const record = store.records.get('session/board')?.toString() ?? '';
        return record.includes('commands') && !record.includes('events');
      });
    } finally {
      for (const { socket } of [board, press]) socket.destroy();
      await hub.stop();
    }
  });
});

test('what the schema has for limits is what the hub has by itself', () => {
  const file = join(scratch(), 'gateway.yaml');
  writeFileSync(file, 'gateway: { id: line-4 }\nhub: { hostName: gateway.local }\n');
  assert.deepEqual(limitsOf(loadConfig(file).config.hub!), LIMITS);
});

interface Answer {
  readonly certificate: string;
  readonly applied: string[];
  readonly needRestart: string[];
}
interface Presence {
  readonly id: string;
  readonly presence: { connected: boolean; since: string | null; lastSeenAt: string | null } | null;
}

test('a reload takes up limits, grants and what is revoked, and cuts off whoever is; the rest of the hub waits for a restart', async (t) => {
  const dir = scratch();
  const maker = new CertificateMaker(dir);
  const root = maker.selfSigned({ subject: '/CN=Root', extensions: AUTHORITY });
  const [lost, kept] = ['lost', 'kept'].map((id) => maker.issuedBy(root, { subject: `/CN=${id}` }));
  const [mqtts, plain, other] = [await freePort(), await freePort(), await freePort()];
  const revoked = join(dir, 'revoked.txt');
  writeFileSync(revoked, '# nobody yet\n');
  const yaml = (hub: string, children = '', listen = plain) => `
gateway: { id: line-4, dataDir: data }
hub:
  hostName: 127.0.0.1
  listen: { mqtts: "127.0.0.1:${mqtts}", mqtt: ${listen} }
  clientCa: ${root.cert}
  ${hub}
storeAndForward: { keepFree: 0%, quota: 16MiB, commitEveryMs: 20 }
children: [ ${children} ]
`;
  const gateway = await startGateway({ dir, yaml: yaml('') });
  const clients: MqttClient[] = [];
  t.after(async () => {
    for (const client of clients) client.end(true);
    await gateway.kill();
  });
  const run = async <T = Answer>(...args: string[]): Promise<T> => {
    const { code, stdout, stderr } = await holdfast([...args, '--json', '-c', gateway.config]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as T;
  };
  const reload = (text: string) => {
    writeFileSync(gateway.config, text);
    return run('reload');
  };
  const { certificate: ca } = await run('provision', 'ca');
  for (const id of ['lost', 'kept']) await run('children', 'add', id, '--x509-ca');
  // No UTF-8: MQTT carries any bytes.
  const password = Buffer.from('correct horse \xff', 'latin1');
  writeFileSync(join(dir, 'password'), password);
  await run('children', 'add', 'panel', '--password-file', join(dir, 'password'));
  const join5 = async (url: string, options: IClientOptions) => {
    const client = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, ...options }, false);
    clients.push(client);
    return client;
  };
  const certified = (id: string, { cert, key }: { cert: string; key: string }) =>
    join5(`mqtts://127.0.0.1:${mqtts}`, { ca, cert: readFileSync(cert), key: readFileSync(key), clientId: id });
  const [lostOne, keptOne] = [await certified('lost', lost!), await certified('kept', kept!)];
  const panel = await join5(`mqtt://127.0.0.1:${plain}`, {
    clientId: 'p',
    username: 'panel',
    password,
  });

  assert.deepEqual(await reload(yaml(`revoked: ${revoked}`)), { applied: ['hub.revoked'], needRestart: [] });
  assert.ok(lostOne.connected, 'nothing is revoked yet');
  writeFileSync(revoked, `${lost!.thumbprint}\n`);
  gateway.process.kill('SIGHUP');
  await until('the lost one to be cut off', () => !lostOne.connected);
  await assert.rejects(certified('lost', lost!), /Not authorized/);
  const listed = await run<Presence[]>('children', 'list');
  const [there, gone] = ['kept', 'lost'].map((id) => listed.find((one) => one.id === id)!.presence!);
  assert.deepEqual([there!.connected, gone!.connected], [true, false]);
  for (const time of [there!.since, there!.lastSeenAt, gone!.since, gone!.lastSeenAt])
    assert.ok(Math.abs(Date.parse(time!) - Date.now()) < 60_000, `${time} is not just now`);
  assert.ok(gone!.lastSeenAt! <= gone!.since!, 'it was heard after it had left');
  const shown = (await holdfast(['list', '-c', gateway.config])).stdout;
  assert.match(shown, /^kept +connected +connected for \d+ s +heard \d+ s ago /m);
  assert.match(shown, /^lost +connected +absent +heard \d+ s ago /m);
  assert.match((await holdfast(['children', 'list', '-c', gateway.config])).stdout, /^kept .* connected, for \d+ s$/m);
  // One attempt is one line, and it is counted.
  assert.match((await holdfast(['status', '-c', gateway.config])).stdout, /refused: 1 not authorised/);
  await gateway.waitForLog(/not let in/);
  const refusals = gateway.log.filter((line) => /not let in|"msg":"refused"/.test(line));
  assert.deepEqual(
    refusals.map((line) => (JSON.parse(line) as { msg: string }).msg),
    ['not let in: the certificate does not count: it is revoked'],
  );
  await gateway.waitForLog(
    /"child":"lost",.*"why":"the certificate does not count: it is revoked".*a client is disconnected/,
  );

  const observer = '{ id: panel, connected: {}, grants: [ { observe: "#" } ] }';
  const more = `revoked: ${revoked}\n  maxConnectedClients: 2\n  tokenExpiry: strict\n  limits: { messagesPerSec: 500 }`;
  await assert.rejects(panel.subscribeAsync(`${OWN}/kept/events`, { qos: 1 }), /Not authorized/);
  assert.deepEqual(await reload(yaml(more, observer, other)), {
    applied: ['hub.maxConnectedClients', 'hub.limits', 'hub.tokenExpiry', 'children.panel'],
    needRestart: ['hub.listen'],
  });
  const seen: IPublishPacket[] = [];
  panel.on('message', (_, __, packet) => seen.push(packet));
  await panel.subscribeAsync(`${OWN}/kept/events`, { qos: 1 });
  await keptOne.publishAsync(`${OWN}/kept/events`, 'hot', { qos: 1 });
  await until('the panel to see it', () => seen.length === 1);
  await assert.rejects(
    join5(`mqtt://127.0.0.1:${plain}`, { clientId: 'kept', username: 'lost', password: 'x' }),
    /Not authorized/,
  );
  assert.ok(keptOne.connected && panel.connected, 'nobody else is cut off');
  assert.deepEqual((await reload(yaml(more, '', other))).applied, ['children.panel']);
  await keptOne.publishAsync(`${OWN}/kept/events`, 'hotter', { qos: 1 });
  await assert.rejects(panel.subscribeAsync(`${OWN}/kept/events/#`, { qos: 1 }), /Not authorized/);
  assert.equal(seen.length, 1);
});
