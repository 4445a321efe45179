import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import mqtt, { type MqttClient } from 'mqtt';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { NestedGateway } from './parts/nested-gateway.ts';
import { Bell, until } from './parts/until.ts';

/** JSON that can be parsed, and whose nesting is too deep to be written again. */
const DEEP = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
const ROOT = 'holdfast/v1/line-4';

describe('JSON that is nested deeper than anybody can write it again', () => {
  let mosquitto: Mosquitto;
  let line: NestedGateway;
  let operator: MqttClient;
  let panel: MqttClient;
  const heard: { readonly topic: string; readonly text: string }[] = [];
  const bell = new Bell();

  /** The answer to a method of the gateway's, or of a child's. */
  async function invoke(child: string, method: string, body: string): Promise<string> {
    const rid = `r${heard.length}-${method}`;
    await operator.publishAsync(`${ROOT}/${child}/methods/${method}/req/${rid}`, body, { qos: 1 });
    const topic = `${ROOT}/${child}/methods/${method}/res/${rid}`;
    return (await bell.until(topic, () => heard.find((each) => each.topic === topic))).text;
  }

  /** Nobody starts it again. */
  async function alive(): Promise<void> {
    assert.match(await invoke('line-4', 'ping', ''), /^\{"status":200,/);
  }

  before(async () => {
    mosquitto = await startMosquitto();
    line = await NestedGateway.make({
      id: 'line-4',
      upstream: mosquitto.url,
      children: ['panel'],
      yaml: [
        'children: [ { id: press, simulated: { sendIntervalMs: 3600000 } } ]',
        'routes: { to-press: "FROM /messages WHERE $connectionDeviceId = \'panel\' INTO BrokeredEndpoint(\\"/children/press/inputs/set\\")" }',
      ].join('\n'),
    });
    await line.start();
    operator = await mqtt.connectAsync(mosquitto.url, { protocolVersion: 5 });
    operator.on('message', (topic, body) => {
      heard.push({ topic, text: body.toString() });
      bell.ring();
    });
    await operator.subscribeAsync(`${ROOT}/#`, { qos: 1 });
    await bell.until('the gateway', () => heard.some(({ text }) => text.includes('"online"')));
    const who = { clientId: 'panel', username: 'panel', password: 'key of panel', reconnectPeriod: 0 } as const;
    panel = await mqtt.connectAsync(`mqtt://127.0.0.1:${line.port}`, { protocolVersion: 5, ...who });
    panel.on('error', () => undefined);
    panel.on('message', (topic) => {
      if (topic.includes('/req/')) panel.publish(topic.replace('/req/', '/res/'), `{"status":200,"payload":${DEEP}}`);
    });
    await panel.subscribeAsync(`${ROOT}/panel/methods/+/req/+`);
  });

  after(async () => {
    await operator.endAsync(true);
    await panel.endAsync(true);
    await line.kill();
    await mosquitto.end();
  });

  for (const child of ['line-4', 'press', 'panel']) {
    test(`as the payload of a method of ${child} is answered with 400`, async () => {
      assert.match(await invoke(child, 'status', `{"payload":${DEEP}}`), /^\{"status":400,.*nested too deeply/);
      await alive();
    });
  }

  test('as what a child answers is its fault', async () => {
    assert.match(await invoke('panel', 'status', ''), /^\{"status":502,/);
    await alive();
  });

  test('in a command from above is refused for good, and holds up none behind it', async () => {
    await operator.publishAsync(`${ROOT}/press/commands`, `{"command":"reset","x":${DEEP}}`, { qos: 1 });
    const status = () => line.command<{ commands: { refused: { malformed: number } } }>(['status']);
    await until('the refusal', async () => (await status()).commands.refused.malformed === 1);
    await alive();
  });

  test('in a message that a route makes a command is one that failed', async () => {
    await panel.publishAsync(`${ROOT}/panel/events`, DEEP, { qos: 1 });
    await alive();
  });
});
