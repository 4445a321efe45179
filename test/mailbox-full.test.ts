import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import mqtt from 'mqtt';
import type { GatewayStatus } from '../src/health/status.ts';
import { hashPassword } from '../src/registry/password.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { Operator, ROOT } from './parts/operator.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

/** Messages that may wait for a child here, and those that are sent to one that is away: more are over than may be on their way to us at once (64). */
const QUEUED_MAX = 5;
const SENT = 160;

/** A child that connects and hears what is for it. */
async function child(port: number, id: string) {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    clientId: id,
    username: id,
    password: 'secret',
    protocolVersion: 5,
    reconnectPeriod: 0,
    clean: false,
    properties: { sessionExpiryInterval: 3600 },
  });
  const heard: { readonly topic: string; readonly body: string }[] = [];
  client.on('message', (topic, body) => heard.push({ topic, body: body.toString() }));
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.on('error', reject);
  });
  await client.subscribeAsync(`${ROOT}/${id}/#`, { qos: 1 });
  return { client, heard };
}

describe('a child that is away, with a full mailbox', () => {
  let mosquitto: Mosquitto;
  let gateway: GatewayProcess;
  let operator: Operator;
  let port: number;
  let panel: Awaited<ReturnType<typeof child>>;
  let password: string;
  const asked = async (...args: string[]) => (await holdfast([...args, '-c', gateway.config])).stdout;
  const status = async () => JSON.parse(await asked('status', '--json')) as GatewayStatus;
  const send = (to: string, body: string, userProperties: Record<string, string> = {}) =>
    operator.client.publishAsync(`${ROOT}/${to}/commands/?${new URLSearchParams(userProperties).toString()}`, body, {
      qos: 1,
    });
  const enabled = (id: string) => ({ id, status: 'enabled' as const, auth: { password } });

  before(async () => {
    mosquitto = await startMosquitto();
    port = await freePort();
    password = await hashPassword(Buffer.from('secret'));
    operator = await Operator.of(mosquitto.url);
    gateway = await startGateway({
      dir: scratch(),
      yaml: `
gateway: { id: line-4, profile: simulated, dataDir: data }
upstream: { url: "${mosquitto.url}" }
storeAndForward: { quota: 16MiB, keepFree: 0% }
hub:
  hostName: localhost
  listen: { mqtt: "127.0.0.1:${port}" }
  limits: { queuedMessages: ${QUEUED_MAX} }
children: [{ id: press-1, simulated: { sendIntervalMs: 1000, messageCount: 1 } }]
`,
    });
    await until('its key', () => operator.json('key') !== null);
    await operator.document(1, ['pump', 'panel', 'fan'].map(enabled));
    await until('the report', () => operator.reported('registry')?.['version'] === 1);
    panel = await child(port, 'panel');
    const pump = await child(port, 'pump');
    await pump.client.endAsync();
  });

  after(async () => {
    await panel.client.endAsync(true);
    await gateway.kill();
    operator.client.end(true);
    await mosquitto.end();
  });

  test('holds up nothing that is for others: commands, desired properties, the registry document', async () => {
    for (let n = 1; n < SENT; n++) await send('pump', String(n));
    await send('pump', 'last', { ack: 'negative', 'p-messageId': 'm-9' });
    await send('panel', 'for the panel');
    await operator.retain('panel/twin/desired', { $version: 1, speed: 3 });
    await operator.retain('pump/twin/desired', { $version: 1, level: 7 });
    await operator.document(2, ['pump', 'panel'].map(enabled));
    await until('the command', () => panel.heard.some(({ body }) => body === 'for the panel'));
    await until('the twin', () => panel.heard.some(({ body }) => body.includes('"speed":3')));
    await until('the registry', () => operator.reported('registry')?.['version'] === 2);
    await assert.rejects(child(port, 'fan'), 'removed, and let in');
  });

  test('is named, with what was refused, wherever one looks', async () => {
    const over = SENT - QUEUED_MAX;
    await until('all to be refused', async () => (await status()).commands?.refused.full === over);
    const { hub, commands } = await status();
    assert.deepEqual(hub?.full, [{ child: 'pump', connected: false, queued: QUEUED_MAX, overflow: over }]);
    const none = { unknown: 0, 'too-large': 0, malformed: 0, expired: 0, failed: 0 };
    assert.deepEqual(commands?.refused, { full: over, ...none });
    const text = await asked('status');
    assert.match(text, /^hub .*5 messages wait for them; no room for more in the mailbox of pump/m);
    assert.match(text, new RegExp(`^commands +refused: ${over} full$`, 'm'));
    const metrics = await asked('metrics');
    assert.match(metrics, /^holdfast_hub_full 1$/m);
    assert.match(metrics, new RegExp(`^holdfast_commands_refused_total\\{reason="full"\\} ${over}$`, 'm'));
    assert.match(
      await asked('check', '--only', 'hub-mailboxes'),
      new RegExp(
        `^WARN +hub-mailboxes +what is sent to these is refused, .*: pump \\(away; 5 wait, ${over} were refused\\)\n +-> `,
        'm',
      ),
    );
    const line = await gateway.waitForLog(/is refused: 5 messages wait already/);
    assert.deepEqual(JSON.parse(line), { ...JSON.parse(line), level: 40, child: 'pump', reason: 'full' });
    assert.equal(gateway.messages().filter((msg) => msg.includes('messages wait already')).length, 1, 'said once');
  });

  test('whoever asked to hear of its message hears that it was refused', async () => {
    const [record] = await until('feedback', () => operator.json('line-4/events/feedback') as unknown as object[]);
    const { enqueuedTimeUtc: _, ...said } = record as Record<string, string>;
    assert.deepEqual(said, {
      originalMessageId: 'm-9',
      statusCode: 'Rejected',
      description: 'Message rejected: 5 messages wait already',
      deviceId: 'pump',
    });
  });

  test('finds what had been taken, in order, when it comes, and its twin; then there is room again', async () => {
    const pump = await child(port, 'pump');
    await until('its twin', () => pump.heard.some(({ body }) => body.includes('"level":7')));
    const commands = () => pump.heard.flatMap(({ topic, body }) => (topic.includes('/commands') ? [body] : []));
    await until('what waited', () => commands().length === QUEUED_MAX);
    await send('pump', 'one more');
    await until('one more', () => commands().length === QUEUED_MAX + 1);
    assert.deepEqual(commands(), ['1', '2', '3', '4', '5', 'one more']);
    assert.deepEqual((await status()).hub?.full, []);
    assert.match(await asked('check', '--only', 'hub-mailboxes'), /^OK +hub-mailboxes +there is; 0 wait$/m);
    await pump.client.endAsync();
  });

  test('what is refused for another reason is counted by it, and does not come again', async () => {
    await send('nobody', 'x');
    await send('fan', 'removed');
    await send('press-1', 'no JSON');
    await send('press-1', '{"command":"fly"}', { ack: 'full', 'p-messageId': 'm-10' });
    await send('press-1', '{"command":"reset"}', { ack: 'full', 'p-messageId': 'm-11' });
    await send('panel', 'x'.repeat(65 * 1024));
    await send('panel', 'x', { 'absolute-expiry-time': 'soon' });
    await send('panel', 'the end');
    await until('the end', () => panel.heard.some(({ body }) => body === 'the end'));
    const refused = { unknown: 2, 'too-large': 1, malformed: 2, expired: 0, failed: 1 };
    const expected = { full: SENT - QUEUED_MAX, ...refused };
    // What a wired child is told takes a way of its own.
    const sum = (counts: object) => Object.values(counts).reduce((all: number, each: number) => all + each, 0);
    const { commands } = await until('all to be refused', async () => {
      const found = await status();
      return sum(found.commands?.refused ?? {}) >= sum(expected) && found;
    });
    assert.deepEqual(commands?.refused, expected);
    const told = () =>
      operator.all.flatMap(({ topic, body }) =>
        topic.endsWith('/feedback')
          ? (JSON.parse(body) as Record<string, string>[]).map((each) => [
              each['originalMessageId'],
              each['statusCode'],
            ])
          : [],
      );
    await until('feedback', () => told().length === 3);
    assert.deepEqual(told().slice(1), [
      ['m-10', 'Rejected'],
      ['m-11', 'Success'],
    ]);
  });
});
