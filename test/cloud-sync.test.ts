import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import mqtt from 'mqtt';
import { newKeyPair } from '../src/registry/jwk.ts';
import { hashPassword } from '../src/registry/password.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { openGate, type Gate } from './parts/gate.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { Operator, ROOT } from './parts/operator.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

/*
 * A gateway with a broker above it, played by its operator over plain MQTT: synced once, then on its own, then back.
 */

/** A child that connects with its password; what it received. */
async function child(port: number, id: string, password: string) {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    clientId: id,
    username: id,
    password,
    protocolVersion: 5,
    reconnectPeriod: 0,
    clean: false,
    properties: { sessionExpiryInterval: 3600 },
  });
  const heard: { readonly topic: string; readonly body: string }[] = [];
  // What waited for it comes right behind CONNACK.
  client.on('message', (topic, body) => heard.push({ topic, body: body.toString() }));
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.on('error', reject);
  });
  return { client, heard };
}

describe('a gateway and what is above it', () => {
  const dir = scratch();
  let mosquitto: Mosquitto;
  let gate: Gate;
  let gateway: GatewayProcess;
  let operator: Operator;
  let port: number;
  let passwords: Record<'first' | 'second', string>;

  const start = () =>
    startGateway({
      dir,
      yaml: `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream:
  url: ${gate.url}
  reconnect: { minSecs: 0.05, maxSecs: 0.2 }
hub: { hostName: localhost, listen: { mqtt: "127.0.0.1:${port}" } }
children:
  - { id: press-1, simulated: { sendIntervalMs: 50, messageCount: -1 } }
`,
    });
  const status = async () =>
    JSON.parse((await holdfast(['status', '--json', '--config', gateway.config])).stdout) as Record<string, unknown>;
  const cut = () => gate.close();

  before(async () => {
    mosquitto = await startMosquitto({ persistence: true });
    gate = await openGate(mosquitto.port);
    port = await freePort();
    passwords = {
      first: await hashPassword(Buffer.from('first')),
      second: await hashPassword(Buffer.from('second')),
    };
    operator = await Operator.of(mosquitto.url);
    gateway = await start();
  });

  after(async () => {
    await gateway.stop();
    operator.client.end(true);
    await gate.close();
    await mosquitto.end();
  });

  test('before it has heard of any child, none is turned away for good', async () => {
    await until('its key', () => operator.json('key') !== null);
    await assert.rejects(child(port, 'pump', 'first'), ({ code }: { code?: number }) => code === 0x88);
  });

  test('a registry document lets children in, and its fate is reported', async () => {
    await operator.document(1, [
      { id: 'pump', status: 'enabled', auth: { password: passwords.first } },
      { id: 'fan', status: 'enabled', auth: { password: passwords.first } },
      { id: 'press-1', status: 'enabled', auth: { password: passwords.first } },
    ]);
    await until('the report', () => operator.reported('registry')?.['version'] === 1);
    const { children, refused, error } = operator.reported('registry')!;
    assert.deepEqual([children, error], [2, undefined]);
    assert.deepEqual(
      (refused as { id: string }[]).map(({ id }) => id),
      ['press-1'],
    );
    const pump = await child(port, 'pump', 'first');
    await pump.client.subscribeAsync(`${ROOT}/pump/#`, { qos: 1 });
    await pump.client.endAsync();
  });

  test('one that cannot be opened changes nothing and is told of', async () => {
    const { public: another } = newKeyPair('enc');
    await operator.document(2, [], another);
    await until('the report', () => operator.reported('registry')?.['error'] !== undefined);
    assert.match(String(operator.reported('registry')?.['error']), /encrypted/);
    assert.equal(operator.reported('registry')?.['version'], 1);
    await operator.retain('children', Buffer.alloc(5 * 2 ** 20, 'x'));
    await gateway.waitForLog(/children is not read: it has 5242\d{3} bytes/);
    await operator.document(1, []);
    await until('word of an old one', () => /version|older/.test(String(operator.reported('registry')?.['error'])));
    const fan = await child(port, 'fan', 'first');
    await fan.client.endAsync();
  });

  test('settings come as desired properties, and wrong ones are refused', async () => {
    await operator.retain('line-4/twin/desired', {
      $version: 1,
      storeAndForward: { timeToLiveSecs: 86_400 },
      routes: { all: 'FROM /messages/* INTO $upstream' },
    });
    await until('the report', () => operator.reported('settings')?.['version'] === 1);
    assert.deepEqual(operator.settings('applied'), ['routes', 'storeAndForward.timeToLiveSecs']);
    await operator.retain('line-4/twin/desired', { $version: 2, routes: { all: 'FROM nowhere' } });
    await until('the problem', () => operator.settings('problems').length > 0);
    assert.deepEqual(operator.settings('applied'), ['routes', 'storeAndForward.timeToLiveSecs']);
    await operator.retain('line-4/modules/$edgeHub/twin/desired', {
      $version: 1,
      schemaVersion: '1.1',
      routes: { all: 'FROM /messages/* INTO $upstream' },
      storeAndForwardConfiguration: { timeToLiveSecs: 7200 },
    });
    await operator.retain('line-4/twin/desired', { $version: 3 });
    await until('the edge hub', () => operator.reported('settings')?.['edgeHubVersion'] === 1);
  });

  test('methods and commands reach the gateway, what it reads itself, and children', async () => {
    const send = (topic: string, body: object, rid: string) =>
      operator.client.publishAsync(`${ROOT}/${topic}/req/${rid}`, JSON.stringify(body), { qos: 0 });
    await send('line-4/methods/ping', {}, '1');
    await send('press-1/methods/reset', { payload: null }, '2');
    await send('nobody/methods/reset', {}, '3');
    const answer = (topic: string) => operator.json(topic)?.['status'];
    // They do not wait for each other.
    const wanted = ['line-4/methods/ping/res/1', 'press-1/methods/reset/res/2', 'nobody/methods/reset/res/3'];
    await until('answers', () => wanted.every((topic) => answer(topic) !== undefined));
    assert.deepEqual(wanted.map(answer), [200, 200, 404]);

    await operator.client.publishAsync(`${ROOT}/pump/commands`, 'open', {
      qos: 1,
      properties: { userProperties: { 'p-a': 'b' } },
    });
    const pump = await child(port, 'pump', 'first');
    await until('the command', () => pump.heard.some(({ topic }) => topic.endsWith('/commands')));
    await pump.client.endAsync();
  });

  test('cut off and killed, it starts with all that it knew', async () => {
    await cut();
    await gateway.kill();
    gateway = await start();
    const { settings, registry } = await status();
    assert.ok(settings, 'no settings from above in the status');
    assert.equal((registry as { version?: number }).version, 1);
    const pump = await child(port, 'pump', 'first');
    await pump.client.publishAsync(`${ROOT}/pump/events`, 'said offline', { qos: 1 });
    await pump.client.publishAsync(`${ROOT}/pump/twin/reported`, JSON.stringify({ open: true }), { qos: 1 });
    await pump.client.endAsync();
  });

  test('on return: the registry first, then twins, then commands; what was said meanwhile arrives', async () => {
    const fan = await child(port, 'fan', 'first');
    const gone = new Promise<void>((resolve) => fan.client.once('close', () => resolve()));
    // In the order in which nothing of it should be done.
    await operator.client.publishAsync(`${ROOT}/motor/commands`, 'turn', { qos: 1 });
    await operator.retain('motor/twin/desired', { $version: 1, speed: 3 });
    await operator.retain('pump/twin/desired', { $version: 4, level: 7 });
    await operator.document(3, [
      { id: 'pump', status: 'enabled', auth: { password: passwords.second } },
      { id: 'motor', status: 'enabled', auth: { password: passwords.second } },
    ]);
    await gate.open();
    await gone;
    await until('the report', () => operator.reported('registry')?.['version'] === 3);
    await assert.rejects(child(port, 'fan', 'first'), 'removed, and let in');
    await assert.rejects(child(port, 'pump', 'first'), 'with the old password');
    const motor = await child(port, 'motor', 'second');
    await motor.client.subscribeAsync(`${ROOT}/motor/#`, { qos: 1 });
    await until('the command', () => motor.heard.some(({ body }) => body === 'turn'));
    await until('what it shall be', () => motor.heard.some(({ body }) => body.includes('"speed":3')));
    const pump = await child(port, 'pump', 'second');
    await pump.client.subscribeAsync(`${ROOT}/pump/twin/desired`, { qos: 1 });
    await until('the twin', () => pump.heard.some(({ body }) => body.includes('"level":7')));
    await until('what it reported', () => operator.json('pump/twin/reported')?.['open'] === true);
    await until('what it said', () => operator.all.some(({ body }) => body === 'said offline'));
    assert.equal(operator.json('fan/twin/reported'), null);
    await Promise.all([motor.client.endAsync(), pump.client.endAsync()]);
  });
});
