import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join as pathOf } from 'node:path';
import { after, before, describe, test } from 'node:test';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import pino from 'pino';
import { SystemClock } from '../src/clock/system-clock.ts';
import { Commands } from '../src/commands/commands.ts';
import { loadConfig } from '../src/config/load.ts';
import { signSasToken } from '../src/dialects/sas-token.ts';
import { Front } from '../src/hub/front.ts';
import type { Source } from '../src/message/message.ts';
import { carryOut } from '../src/registry/desk.ts';
import { Enrolment } from '../src/registry/enrolment.ts';
import { hashPassword } from '../src/registry/password.ts';
import { State } from '../src/store/state.ts';
import { Twins } from '../src/twins/twins.ts';
import { routeMessage } from './parts/route-message.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const GATEWAY = 'line-4';
const HUB = 'myhub.azure-devices.net';
const KEY = Buffer.alloc(32, 7);
const YAML = `
gateway: { id: ${GATEWAY}, dataDir: data }
hub: { hostName: localhost, iothubName: ${HUB}, listen: { mqtt: "127.0.0.1:1883" } }
children:
  - { id: press-1, simulated: {} }
  - id: panel
    connected: {}
    grants: [ { invoke: press-1 }, { invoke: pump }, { invoke: sdk }, { send: pump }, { send: press-1 } ]
  - { id: clerk, connected: {}, grants: [ { send: sdk } ] }
  - { id: pump, connected: {} }
  - { id: sdk, connected: {} }
  - { id: edge, connected: {} }
  - { id: depot, connected: {} }
`;

/** The hub with all that is behind it but the router: what reaches that is written down. */
class Gateway {
  readonly accepted: { source: Source; body: string; properties: Record<string, string> }[] = [];
  readonly clock = new SystemClock(() => true, undefined);
  readonly commands = new Commands(this.clock);
  #state!: State;
  #enrolment!: Enrolment;
  #front!: Front;
  get front(): Front {
    return this.#front;
  }
  twins!: Twins;

  async start(): Promise<void> {
    const dir = scratch();
    const file = pathOf(dir, 'gateway.yaml');
    writeFileSync(file, YAML);
    const { config } = loadConfig(file);
    const listen = { ...config.hub!.listen, mqtt: { host: '127.0.0.1', port: 0 } };
    this.#state = new State(pathOf(dir, 'data/state'));
    const { clock, commands } = this;
    const log = pino({ enabled: false });
    this.#enrolment = await Enrolment.open({
      config,
      medium: this.#state,
      clock,
      log,
      builtAt: undefined,
      credentialsDir: '',
    });
    const password = await hashPassword(Buffer.from('a password'));
    for (const id of ['panel', 'clerk', 'pump', 'sdk', 'edge', 'depot']) {
      const sas = { sas: { primaryKey: KEY.toString('base64') } };
      const identity = {
        id,
        auth: ['sdk', 'edge', 'depot'].includes(id) ? sas : { password },
        modules: ['edge', 'depot'].includes(id) ? [{ id: 'm', auth: sas }] : [],
      };
      await carryOut({ do: 'add', identity }, this.#enrolment);
    }
    const accept = (source: Source, { body, properties }: { body: Buffer; properties?: object }) =>
      void this.accepted.push({ source, body: body.toString(), properties: { ...properties } });
    this.twins = new Twins({ store: this.#enrolment.store, changed: (change) => this.#front.twinChanged(change) });
    this.#front = new Front({
      config: { ...config, hub: { ...config.hub!, listen } },
      enrolment: this.#enrolment,
      twins: this.twins,
      commands,
      clock,
      log,
      age: () => clock.monotonic(),
      accept: (source, content) => Promise.resolve(accept(source, content)),
      hasRoom: () => true,
      tooLarge: () => undefined,
      noticesWanted: () => true,
    });
    commands.register('press-1', {
      command: (name, payload) => Promise.resolve({ status: 200, payload: { name, payload } }),
    });
    await this.#front.start();
  }

  async stop(): Promise<void> {
    await this.#front.stop();
    await this.#enrolment.stop();
    await this.#state.close();
  }

  get port(): number {
    return this.#front.status().ports['mqtt'] ?? 0;
  }
}

/** Options of a client that is let in. */
function credentials(id: string): IClientOptions {
  const isSdk = ['sdk', 'edge/m'].includes(id);
  const resource = `${HUB}/devices/${id.replace('/', '/modules/')}`;
  const password = isSdk ? signSasToken(resource, KEY, Math.floor(Date.now() / 1000) + 3600) : 'a password';
  const username = isSdk ? `${HUB}/${id}/?api-version=2021-04-12` : id;
  return { clientId: id, username, password, reconnectPeriod: 0, clean: true };
}

function join(id: string, over: IClientOptions = {}): Promise<MqttClient> {
  return mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { ...credentials(id), ...over }, false);
}

const OWN = `holdfast/v1/${GATEWAY}`;
const gateway = new Gateway();
let panel: MqttClient;
const heard: [topic: string, body: string][] = [];

before(async () => {
  await gateway.start();
  panel = await join('panel', { protocolVersion: 5 });
  panel.on('message', (topic, body) => heard.push([topic, body.toString()]));
  await panel.subscribeAsync([`${OWN}/panel/#`, `${OWN}/+/methods/+/res/+`], { qos: 1 });
});
after(async () => {
  await panel.endAsync(true);
  await gateway.stop();
});

/** The next that the panel hears on a topic. */
async function panelHears(topic: string): Promise<unknown> {
  await until(topic, () => heard.some(([on]) => on === topic));
  const at = heard.findIndex(([on]) => on === topic);
  return JSON.parse(heard.splice(at, 1)[0]![1]) as unknown;
}

async function withClient(id: string, over: object, work: (client: MqttClient) => Promise<void>): Promise<void> {
  const client = await join(id, over);
  try {
    await work(client);
  } finally {
    await client.endAsync();
  }
}

const invoke = (child: string, rid: string, body = '{"payload":{"a":1},"responseTimeoutSecs":5}') =>
  panel.publishAsync(`${OWN}/${child}/methods/go/req/${rid}`, body);

describe('a method that a child invokes', () => {
  test('on a wired one', async () => {
    await invoke('press-1', 'w1');
    const answer = { status: 200, payload: { name: 'go', payload: { a: 1 } } };
    assert.deepEqual(await panelHears(`${OWN}/press-1/methods/go/res/w1`), answer);
  });

  test('on one that is connected, in either dialect', async () => {
    await withClient('pump', {}, async (pump) => {
      pump.on('message', (topic, body) => {
        const { payload } = JSON.parse(body.toString()) as { payload: unknown };
        pump.publish(topic.replace('/req/', '/res/'), JSON.stringify({ status: 202, payload: [payload] }));
      });
      await pump.subscribeAsync(`${OWN}/pump/methods/+/req/+`);
      await invoke('pump', 'p1');
      assert.deepEqual(await panelHears(`${OWN}/pump/methods/go/res/p1`), { status: 202, payload: [{ a: 1 }] });
    });
    await withClient('sdk', {}, async (sdk) => {
      sdk.on('message', (topic, body) => {
        const rid = topic.split('$rid=')[1]!;
        sdk.publish(`$iothub/methods/res/203/?$rid=${rid}`, body);
      });
      await sdk.subscribeAsync('$iothub/methods/POST/#');
      await invoke('sdk', 's1');
      assert.deepEqual(await panelHears(`${OWN}/sdk/methods/go/res/s1`), { status: 203, payload: { a: 1 } });
    });
  });

  test('a command with an id brings it to a child that has a place for it', async () => {
    await withClient('pump', {}, async (pump) => {
      pump.on('message', (topic, body) => {
        const { id } = JSON.parse(body.toString()) as { id?: string };
        pump.publish(topic.replace('/req/', '/res/'), JSON.stringify({ status: 200, payload: id ?? null }));
      });
      await pump.subscribeAsync(`${OWN}/pump/methods/+/req/+`);
      const { commands } = gateway;
      const done = await commands.invoke('pump', 'go', null, 5, 'hot/2031-05-06T00:00:10.0000000Z/0');
      assert.deepEqual(done, { status: 200, payload: 'hot/2031-05-06T00:00:10.0000000Z/0' });
      assert.deepEqual(await commands.invoke('pump', 'go', null, 5), { status: 200, payload: null });
    });
  });

  test('on one that is away is 404; on one that does not answer 504', async () => {
    await invoke('pump', 'a1');
    assert.deepEqual(await panelHears(`${OWN}/pump/methods/go/res/a1`), {
      status: 404,
      payload: { error: '"pump" is not connected' },
    });
    await withClient('pump', {}, async (pump) => {
      await pump.subscribeAsync(`${OWN}/pump/methods/+/req/+`);
      await invoke('pump', 'a2', '{"responseTimeoutSecs":1}');
      assert.equal(((await panelHears(`${OWN}/pump/methods/go/res/a2`)) as { status: number }).status, 504);
    });
    assert.equal((await gateway.commands.invoke('pump', 'go', null)).failed, true);
  });
});

describe('a message that a child sends to another', () => {
  test('waits for it, and says who sent it', async () => {
    await withClient('pump', { clean: false }, async (pump) => {
      await pump.subscribeAsync(`${OWN}/pump/commands/#`, { qos: 1 });
    });
    const userProperties = { 'p-k': 'v' };
    await panel.publishAsync(`${OWN}/pump/commands`, 'stop', { qos: 1, properties: { userProperties } });
    await sees('pump', { clean: false }, async (got) => {
      await until('the message', () => got.length === 1);
      const sent = { topic: `${OWN}/pump/commands/?from=panel&p-k=v`, body: 'stop' };
      assert.deepEqual(got, [sent]);
    });
  });

  test('reaches an SDK child as a cloud-to-device message', async () => {
    await withClient('sdk', { clean: false }, async (sdk) => {
      await sdk.subscribeAsync('devices/sdk/messages/devicebound/#', { qos: 1 });
    });
    await withClient('clerk', {}, async (clerk) => {
      const bag = '?content-type=text%2Fplain&p-k=v%2Fw&p-messageId=7';
      await clerk.publishAsync(`${OWN}/sdk/commands/${bag}`, 'x', { qos: 1 });
    });
    await sees('sdk', { clean: false }, async (got) => {
      await until('the message', () => got.length === 1);
      const topic = 'devices/sdk/messages/devicebound/%24.mid=7&%24.ct=text%2Fplain&%24.cdid=clerk&k=v%2Fw';
      assert.deepEqual(got, [{ topic, body: 'x' }]);
    });
  });

  test('that is wired, or that has expired, is refused', async () => {
    const refused = (topic: string, userProperties: Record<string, string>) =>
      assert.rejects(panel.publishAsync(topic, 'x', { qos: 1, properties: { userProperties } }));
    await refused(`${OWN}/press-1/commands`, { 'p-k': 'v' });
    await refused(`${OWN}/pump/commands`, { 'absolute-expiry-time': '2001-01-01T00:00:00Z' });
    await refused(`${OWN}/sdk/commands`, { 'p-k': 'v' });
  });
});

describe('the sender of a message whose ack asks', () => {
  const told = () =>
    gateway.accepted.flatMap(({ source, body }) => {
      if (source.output !== 'feedback') return [];
      assert.deepEqual(source, { child: GATEWAY, output: 'feedback' });
      return (JSON.parse(body) as Record<string, string>[]).map((record) => {
        assert.ok(Date.parse(record['enqueuedTimeUtc']!) > 0, body);
        return [record['originalMessageId'], record['deviceId'], record['statusCode']];
      });
    });
  const send = (messageId: string, ack: string, more = {}) =>
    panel.publishAsync(`${OWN}/pump/commands`, 'x', {
      qos: 1,
      properties: { userProperties: { messageId, ack, ...more } },
    });

  test('hears on the gateway’s output feedback that the child has it, or that it expired', async () => {
    const expiry = Date.now() + 2000;
    const soon = { 'absolute-expiry-time': new Date(expiry).toISOString() };
    await send('1', 'positive', soon);
    await send('2', 'negative', soon);
    await send('3', 'full', soon);
    // By either clock: the hub counts in age.
    await until('their expiry', () => Date.now() > expiry + 100);
    await send('4', 'positive');
    await send('5', 'negative');
    await send('6', 'full');
    await send('7', 'none');
    await withClient('pump', { clean: false }, async (pump) => {
      await pump.subscribeAsync(`${OWN}/pump/commands/#`, { qos: 1 });
      await until('what became of four', () => told().length >= 4);
    });
    assert.deepEqual(told(), [
      ['2', 'pump', 'Expired'],
      ['3', 'pump', 'Expired'],
      ['4', 'pump', 'Success'],
      ['6', 'pump', 'Success'],
    ]);
  });
});

describe('a twin', () => {
  test('of a plain child: reports, is told what is wrong, and has its desired document at once and with each change', async () => {
    await panel.publishAsync(`${OWN}/panel/twin/reported`, '{"a":1,"b":{"c":2}}', { qos: 1 });
    await panel.publishAsync(`${OWN}/panel/twin/reported`, '{"b":{"c":null,"d":3}}', { qos: 1 });
    assert.deepEqual(plain(gateway.twins.read('panel', null).reported), { a: 1, b: { d: 3 }, $version: 3 });
    await panel.publishAsync(`${OWN}/panel/twin/reported`, '{"x.y":1}', { qos: 0 });
    const error = (await panelHears(`${OWN}/panel/twin/error`)) as { errorCode: number };
    assert.equal(error.errorCode, 400_004);
    heard.length = 0;
    await gateway.twins.desire('panel', null, { speed: 5, mode: 'a' });
    assert.deepEqual(await panelHears(`${OWN}/panel/twin/desired`), { speed: 5, mode: 'a', $version: 2 });
    await gateway.twins.desire('panel', null, { mode: null });
    assert.deepEqual(await panelHears(`${OWN}/panel/twin/desired`), { speed: 5, $version: 3 });
    await panel.subscribeAsync(`${OWN}/panel/twin/desired`, { qos: 1 });
    assert.deepEqual(await panelHears(`${OWN}/panel/twin/desired`), { speed: 5, $version: 3 });
  });

  test('of an SDK child: it gets the patch', async () => {
    await withClient('sdk', {}, async (sdk) => {
      const got: string[] = [];
      sdk.on('message', (topic, body) => got.push(`${topic} ${body.toString()}`));
      await sdk.subscribeAsync('$iothub/twin/PATCH/properties/desired/#');
      await gateway.twins.replaceDesired('sdk', null, { a: 1 });
      await gateway.twins.replaceDesired('sdk', null, { b: 2 });
      await until('both', () => got.length === 2);
      assert.deepEqual(got, [
        '$iothub/twin/PATCH/properties/desired/?$version=2 {"a":1,"$version":2}',
        '$iothub/twin/PATCH/properties/desired/?$version=3 {"a":null,"b":2,"$version":3}',
      ]);
    });
  });

  test('that changed, and a child that came, are notices for routes', () => {
    const of = (child: string) => gateway.accepted.filter(({ properties }) => properties['rpSenderDeviceId'] === child);
    const source = { child: GATEWAY, module: '$edgeHub' };
    assert.deepEqual(
      of('panel').map(({ source: from, body }) => [from, body]),
      [
        [source, '{"a":1,"b":{"c":2}}'],
        [source, '{"b":{"c":null,"d":3}}'],
      ],
    );
    const clients = of(GATEWAY).map(({ body }) => Object.keys((JSON.parse(body) as { clients: object }).clients)[0]);
    assert.equal(clients[0], 'panel');
    assert.ok(clients.filter((client) => client === 'sdk').length >= 2);
  });
});

test('telemetry keeps its order, its place and what stands beside it', async () => {
  const before_ = gateway.accepted.length;
  await withClient('edge/m', {}, async (module) => {
    const topic = 'devices/edge/modules/m/messages/events/%24.on=hot&%24.ct=text%2Fplain&k=v/';
    await Promise.all(['1', '2', '3'].map((body) => module.publishAsync(topic, body, { qos: 1 })));
  });
  const source = { child: 'edge', module: 'm', output: 'hot' };
  assert.deepEqual(
    gateway.accepted.slice(before_).filter((each) => each.source.child === 'edge'),
    ['1', '2', '3'].map((body) => ({ source, body, properties: { k: 'v' } })),
  );
});

test('a message for modules of one name reaches those that have room, though a child before them has none', async () => {
  const message = routeMessage({ body: Buffer.alloc(200_000) });
  await withClient('edge/m', {}, async (module) => {
    const got: number[] = [];
    module.on('message', (_, body) => got.push(body.length));
    await module.subscribeAsync('devices/edge/modules/m/#', { qos: 1 });
    // The mailbox of depot/m, which is away, takes five of this size.
    const outcomes: string[] = [];
    for (let n = 1; n <= 7; n++) {
      const [{ status }] = await Promise.allSettled([gateway.front.moduleInput('m', 'in', message)]);
      outcomes.push(status);
      await until(`message ${n}`, () => got.length === n);
    }
    assert.deepEqual(outcomes.slice(-1), ['rejected'], 'what found no room is said');
  });
});

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

/** A client whose messages are written down from the first on. */
async function sees(
  id: string,
  over: IClientOptions,
  work: (got: { topic: string; body: string }[]) => Promise<void>,
): Promise<void> {
  const got: { topic: string; body: string }[] = [];
  const client = mqtt.connect(`mqtt://127.0.0.1:${gateway.port}`, { ...credentials(id), ...over });
  client.on('message', (topic, body) => got.push({ topic, body: body.toString() }));
  try {
    await work(got);
  } finally {
    await client.endAsync();
  }
}
