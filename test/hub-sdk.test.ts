import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import mqtt from 'mqtt';
import { AUTHORITY, CertificateMaker } from './parts/child-certificates.ts';
import { openGate } from './parts/gate.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import type { SdkDevice } from './parts/sdk-device.ts';
import { GATEWAY, HubGateway, newKey, portsRefused, type HubGatewayOptions } from './parts/sdk-gateway.ts';
import { until } from './parts/until.ts';
import { startWatcher, type Watcher } from './parts/watcher.ts';

/*
 * The unmodified azure-iot-device SDK against the gateway as users run it. The network above is down the whole time that
 * children talk, and comes back at the end to show what was accepted.
 */
const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const skip = await portsRefused();

interface Scene {
  readonly gateway: HubGateway;
  /** What comes out above, once {@link online} was called. */
  readonly online: () => Promise<Watcher>;
}

async function scene(
  context: TestContext,
  { dir = scratch(), ...options }: Partial<HubGatewayOptions>,
  act: (scene: Scene) => Promise<void>,
) {
  const mosquitto = await startMosquitto();
  const gate = await openGate(mosquitto.port);
  await gate.close();
  const watcher = await startWatcher({ url: mosquitto.url });
  const gateway = new HubGateway({ ...options, dir, upstream: gate.url });
  const online = async () => {
    await gate.open();
    return watcher;
  };
  try {
    await act({ gateway, online });
  } catch (error) {
    context.diagnostic(`the gateway said:\n${gateway.said()}`);
    throw error;
  } finally {
    await gateway.kill();
    await watcher.end();
    await gate.close();
    await mosquitto.end();
  }
}

/** The SDK subscribes to methods in the background: until it has, nobody is there (404). */
function invoked(gateway: HubGateway, child: string, name: string, payload: unknown) {
  return until(`${name} of ${child} to be there`, async () => {
    const result = await gateway.invoke(child, name, payload);
    return result.status === 404 ? null : result;
  });
}

/** Everything that a device does. What it sends is numbered from `from` on; returns how many it sent. */
async function lives(gateway: HubGateway, device: SdkDevice, id: string, from: number): Promise<number> {
  await device.open();
  for (let n = from; n < from + 20; n++) {
    const known = { contentType: 'application/json', contentEncoding: 'utf-8', messageId: `m-${n}` };
    await device.send(JSON.stringify({ n }), { 'a name/with': 'ein Würfel & 100 %=', n: String(n) }, known);
  }

  const seen = device.events.length;
  await gateway.command(['twin', 'set', id, '--desired', JSON.stringify({ speed: from, old: { deep: true } })]);
  const { desired } = await device.tell('twin', {});
  const { $version, ...wanted } = desired as { $version: number };
  assert.deepEqual(wanted, { speed: from, old: { deep: true } });
  await device.tell('report', { patch: { speed: from, heat: { max: 3 } } });
  await device.tell('report', { patch: { heat: { max: null, min: 1 } } });
  const twin = await gateway.command<{ reported: object }>(['twin', 'get', id]);
  const { $version: reportedVersion, ...reported } = twin.reported as { $version: number };
  assert.deepEqual(reported, { speed: from, heat: { min: 1 } });
  assert.ok(reportedVersion > 1);
  await gateway.command(['twin', 'set', id, '--desired', JSON.stringify({ speed: from + 1, old: null })]);
  await device.until('the change of what is desired', ({ events }) =>
    events.slice(seen).some((event) => {
      if (event.event !== 'desired') return false;
      const delta = event.delta as { speed?: number; $version: number };
      return delta.speed === from + 1 && delta.$version === $version + 1;
    }),
  );
  const after = await device.tell('twin', {});
  assert.deepEqual(after, { desired: { speed: from + 1, $version: $version + 1 }, reported: twin.reported });

  await device.tell('method', { name: 'reset', status: 207 });
  const answer = await invoked(gateway, id, 'reset', { hard: [1, 'ü'] });
  assert.deepEqual(answer, { status: 207, payload: { heard: { hard: [1, 'ü'] } } });
  // The SDK says nothing at all to a method that it has not been taught.
  assert.equal((await gateway.invoke(id, 'nobody-home', null, 5)).status, 504);
  return 20;
}

/** What the device sent, as it came out above: in order, each once, with everything that went with it. */
async function arrives(watcher: Watcher, id: string, count: number): Promise<void> {
  await watcher.until(
    () => `${count} messages of ${id}; ${watcher.firstSights().length} are there`,
    () => watcher.firstSights().filter(({ child }) => child === id).length >= count,
  );
  const events = watcher.firstSights().filter(({ child }) => child === id);
  assert.deepEqual(
    events.map(({ body }) => (JSON.parse(body.toString()) as { n: number }).n),
    Array.from({ length: count }, (_, n) => n),
  );
  for (const [n, event] of events.entries()) {
    assert.equal(event.contentType, 'application/json');
    assert.deepEqual(event.properties, { 'a name/with': 'ein Würfel & 100 %=', n: String(n), messageId: `m-${n}` });
  }
}

describe('the unmodified SDK, with no network', { concurrency: 3 }, () => {
  for (const transport of LONG ? (['mqtt', 'ws'] as const) : (['mqtt'] as const)) {
    test(
      `an SDK device with a key, ${transport}: telemetry, twin, methods; the gateway killed in between`,
      { skip },
      (context) =>
        scene(context, {}, async ({ gateway, online }) => {
          const key = newKey();
          await gateway.addChild('press-1', ['--sas', '--primary-key', newKey(), '--secondary-key', key]);
          await gateway.start();
          const device = gateway.sasDevice('press-1', key, { transport });
          try {
            let sent = await lives(gateway, device, 'press-1', 0);
            const twin = await gateway.command(['twin', 'get', 'press-1']);
            await gateway.kill();
            await gateway.start();
            assert.deepEqual(await gateway.command(['twin', 'get', 'press-1']), twin);
            // The SDK comes back by itself, and subscribes to nothing again: what it had subscribed to was kept.
            const answer = await invoked(gateway, 'press-1', 'reset', 'again');
            assert.deepEqual(answer, { status: 207, payload: { heard: 'again' } });
            const seen = device.events.length;
            await gateway.command(['twin', 'set', 'press-1', '--desired', '{"speed":null}']);
            await device.until('the change after the restart', ({ events }) =>
              events.slice(seen).some(({ event }) => event === 'desired'),
            );
            sent += await sendMore(device, sent);
            await arrives(await online(), 'press-1', sent);
          } finally {
            await device.kill();
          }
        }),
    );
  }

  async function sendMore(device: SdkDevice, from: number, count = 20): Promise<number> {
    for (let n = from; n < from + count; n++) {
      const known = { contentType: 'application/json', contentEncoding: 'utf-8', messageId: `m-${n}` };
      await device.send(JSON.stringify({ n }), { 'a name/with': 'ein Würfel & 100 %=', n: String(n) }, known);
    }
    return count;
  }

  for (const transport of LONG ? (['mqtt', 'ws'] as const) : (['ws'] as const)) {
    test(
      `SDK devices with certificates, ${transport}: known by thumbprint, or by their authority; telemetry, twin, methods`,
      { skip },
      (context) => {
        const dir = scratch();
        const maker = new CertificateMaker(dir);
        const root = maker.selfSigned({ subject: '/CN=Root', extensions: AUTHORITY });
        const shop = maker.issuedBy(root, { subject: '/CN=Shop floor', extensions: AUTHORITY });
        const own = maker.selfSigned({ subject: '/CN=press-2' });
        const issued = maker.chain(maker.issuedBy(shop, { subject: '/CN=press-3' }), shop);
        return scene(context, { dir, hub: [`clientCa: ${root.cert}`] }, async ({ gateway, online }) => {
          await gateway.addChild('press-2', ['--x509-thumbprint', own.thumbprint]);
          await gateway.addChild('press-3', ['--x509-ca']);
          await gateway.start();
          const second = gateway.certifiedDevice('press-2', own, transport);
          const third = gateway.certifiedDevice('press-3', issued, transport);
          try {
            const sent = await Promise.all([lives(gateway, second, 'press-2', 0), lives(gateway, third, 'press-3', 0)]);
            const watcher = await online();
            await arrives(watcher, 'press-2', sent[0]);
            await arrives(watcher, 'press-3', sent[1]);
          } finally {
            await second.kill();
            await third.kill();
          }
        });
      },
    );
  }

  test('a token is renewed by a new connection that subscribes to nothing, and nothing is lost', { skip }, (context) =>
    scene(context, {}, async ({ gateway, online }) => {
      const key = newKey();
      await gateway.addChild('press-1', ['--sas', '--primary-key', key]);
      await gateway.start();
      // Renewed every 2 s, and good for so long that no token ends before the next one, whatever holds the machine up.
      const device = gateway.sasDevice('press-1', key, { token: { validSecs: 62, marginSecs: 60 } });
      try {
        await device.open();
        await device.tell('method', { name: 'reset', status: 200 });
        await device.tell('twin', {});
        await invoked(gateway, 'press-1', 'reset', 1);
        let sent = 0;
        const renewals = () => device.events.filter(({ event }) => event === 'renewed').length;
        for (const wanted of [1, 2, 3, 4]) {
          while (renewals() < wanted) sent += await sendMore(device, sent, 1);
        }
        const seen = device.events.length;
        await gateway.command(['twin', 'set', 'press-1', '--desired', '{"after":"renewal"}']);
        await device.until('the change after the renewals', ({ events }) =>
          events.slice(seen).some(({ event }) => event === 'desired'),
        );
        assert.equal((await invoked(gateway, 'press-1', 'reset', 2)).status, 200);
        assert.deepEqual(
          device.events.filter(({ event }) => event === 'error' || event === 'disconnect'),
          [],
        );
        await arrives(await online(), 'press-1', sent);
      } finally {
        await device.kill();
      }
    }),
  );

  const SENDER = `
children:
  - id: panel
    connected: {}
    grants: [ { send: press-1 }, { invoke: press-1 } ]
`;

  /** A module may call its own device without a grant. */
  const MODULE = '';

  async function panelOf(gateway: HubGateway, password: string): Promise<mqtt.MqttClient> {
    return mqtt.connectAsync(`mqtts://${gateway.address}:8883`, {
      ca: gateway.ca,
      clientId: 'panel',
      username: 'panel',
      password,
      protocolVersion: 5,
      clean: false,
    });
  }

  test(
    'a plain child sends to an SDK device and invokes it; what was sent while it was away waits, through a kill',
    { skip },
    (context) =>
      scene(context, { yaml: SENDER }, async ({ gateway }) => {
        const key = newKey();
        await gateway.addChild('press-1', ['--sas', '--primary-key', key]);
        const password = join(gateway.dir, 'panel-password');
        writeFileSync(password, 'correct horse\n', { mode: 0o600 });
        await gateway.addChild('panel', ['--password-file', password]);
        await gateway.start();
        const device = gateway.sasDevice('press-1', key);
        let again: SdkDevice | null = null;
        let panel = await panelOf(gateway, 'correct horse');
        try {
          await device.open();
          await device.tell('receive', {});
          await device.tell('method', { name: 'reset', status: 200 });
          await invoked(gateway, 'press-1', 'reset', 0);
          const commands = `holdfast/v1/${GATEWAY}/press-1/commands`;
          const options = {
            qos: 1,
            properties: { contentType: 'text/plain', userProperties: { 'p-why': 'test & more' } },
          } as const;
          await panel.publishAsync(commands, 'while there', options);
          const [first] = await device.until('the command', (sdk) =>
            sdk.received().length > 0 ? sdk.received() : null,
          );
          assert.equal(first!.message.body, 'while there');
          assert.equal(first!.message.contentType, 'text/plain');
          assert.ok(Object.values(first!.message.properties).includes('test & more'));

          const answers: unknown[] = [];
          panel.on('message', (topic, body) => answers.push([topic, JSON.parse(body.toString())]));
          await panel.subscribeAsync(`holdfast/v1/${GATEWAY}/press-1/methods/+/res/+`, { qos: 0 });
          const request = JSON.stringify({ payload: { by: 'panel' }, responseTimeoutSecs: 10 });
          await panel.publishAsync(`holdfast/v1/${GATEWAY}/press-1/methods/reset/req/r-1`, request);
          await until('the answer to the panel', () => answers.length > 0);
          assert.deepEqual(answers, [
            [
              `holdfast/v1/${GATEWAY}/press-1/methods/reset/res/r-1`,
              { status: 200, payload: { heard: { by: 'panel' } } },
            ],
          ]);

          await device.kill();
          for (let n = 0; n < 5; n++) await panel.publishAsync(commands, `while away ${n}`, { qos: 1 });
          await panel.endAsync(true);
          await gateway.kill();
          await gateway.start();
          panel = await panelOf(gateway, 'correct horse');
          again = gateway.sasDevice('press-1', key);
          await again.tell('receive', {});
          await again.open();
          await again.until('what waited', (sdk) => sdk.received().length >= 5);
          assert.deepEqual(
            again.received().map(({ message }) => message.body),
            [0, 1, 2, 3, 4].map((n) => `while away ${n}`),
          );
        } finally {
          await panel.endAsync(true);
          await device.kill();
          await again?.kill();
        }
      }),
  );

  test(
    'an SDK module: outputs go up as its own, methods reach it, and it invokes others by HTTPS',
    { skip },
    (context) =>
      scene(context, { yaml: MODULE }, async ({ gateway, online }) => {
        const [deviceKey, moduleKey] = [newKey(), newKey()];
        await gateway.addChild('press-1', ['--sas', '--primary-key', deviceKey]);
        await gateway.addChild('press-1', ['--module', 'filter', '--sas', '--primary-key', moduleKey]);
        await gateway.start();
        const module = gateway.sasDevice('press-1', moduleKey, {}, 'filter');
        const device = gateway.sasDevice('press-1', deviceKey);
        try {
          await module.open();
          await device.open();
          await device.tell('method', { name: 'reset', status: 200 });
          await invoked(gateway, 'press-1', 'reset', 0);
          for (let n = 0; n < 5; n++)
            await module.tell('send', { output: 'alarm', message: { body: String(n), properties: { n: String(n) } } });
          const call = { device: 'press-1', name: 'reset', payload: { by: 'filter' }, timeoutSecs: 10 };
          assert.deepEqual(await module.tell('invoke', call), { status: 200, payload: { heard: { by: 'filter' } } });
          await module.tell('twin', {});
          await module.tell('report', { patch: { ready: true } });
          const watcher = await online();
          await watcher.until('its outputs', () => watcher.firstSights().length >= 5);
          assert.deepEqual(
            watcher
              .firstSights()
              .map(({ child, module: name, output, body, properties }) => [
                child,
                name,
                output,
                body.toString(),
                properties,
              ]),
            [0, 1, 2, 3, 4].map((n) => ['press-1', 'filter', 'alarm', String(n), { n: String(n) }]),
          );
        } finally {
          await module.kill();
          await device.kill();
        }
      }),
  );

  const FED = `
routes:
  up: FROM /messages/* INTO $upstream
  fed: FROM /messages/* WHERE $connectionDeviceId = 'press-1' INTO BrokeredEndpoint("/modules/filter/inputs/raw")
`;

  test(
    "by the gateway's own authority: a module is fed on an input by what another child says, and a method waits for a child that comes",
    { skip },
    (context) =>
      scene(context, { yaml: FED, ownAuthority: true }, async ({ gateway }) => {
        const [press, edge, filter] = [newKey(), newKey(), newKey()];
        await gateway.addChild('press-1', ['--sas', '--primary-key', press]);
        await gateway.addChild('edge', ['--sas', '--primary-key', edge]);
        await gateway.addChild('edge', ['--module', 'filter', '--sas', '--primary-key', filter]);
        const stranger = gateway.sasDevice('press-1', press);
        await gateway.start();
        await gateway.trustOwn();
        const module = gateway.sasDevice('edge', filter, {}, 'filter');
        const device = gateway.sasDevice('press-1', press);
        let owner: SdkDevice | null = null;
        try {
          await assert.rejects(stranger.open(), /certificate/);
          await module.tell('receive', {});
          await module.open();
          await device.open();
          for (let n = 0; n < 5; n++)
            await device.send(JSON.stringify({ n }), { unit: '°C' }, { contentType: 'application/json' });
          await module.until('its inputs', (sdk) => sdk.received().length >= 5);
          assert.deepEqual(
            module
              .received()
              .map(({ input, message }) => [input, message.body, message.contentType, message.properties['unit']]),
            [0, 1, 2, 3, 4].map((n) => ['raw', `{"n":${n}}`, 'application/json', '°C']),
          );

          // Its own device is not there yet: the SDK's connectTimeoutInSeconds says how long it is waited for.
          const call = { device: 'edge', name: 'reset', payload: 1, timeoutSecs: 60 };
          const called = module.tell('invoke', call);
          owner = gateway.sasDevice('edge', edge);
          await owner.tell('method', { name: 'reset', status: 200 });
          await owner.open();
          assert.deepEqual(await called, { status: 200, payload: { heard: 1 } });
        } finally {
          for (const sdk of [stranger, module, device, owner]) await sdk?.kill();
        }
      }),
  );
});
