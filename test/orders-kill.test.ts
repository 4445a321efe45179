import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { lookAtSpool } from '../src/spool/files.ts';
import { companionKey, companionPlace, isCompanion } from '../src/spool/keys.ts';
import { NO_SOCAT, SerialCable } from './driver-rig.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { byPassword } from './parts/sdk-gateway.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

const COMMANDS = 3;
const ORDERS = 3;

/** How many commands the medium has that were not carried out. */
function open(dataDir: string): Promise<number> {
  return lookAtSpool(dataDir, (reader) => {
    let count = 0;
    reader.scan(companionKey(ORDERS, 0), ({ key }) => {
      if (!isCompanion(key) || companionPlace(key).kind !== ORDERS) return false;
      count++;
      return true;
    });
    return count;
  });
}

test(
  'commands whose message is upstream reach children that come after SIGKILLs, in order, with their ids',
  { skip: NO_SOCAT },
  async () => {
    const mosquitto = await startMosquitto();
    const watcher = await startWatcher({ url: mosquitto.url });
    const dir = scratch();
    const dataDir = join(dir, 'data');
    const port = await freePort();
    const cable = new SerialCable();
    const yaml = (sensors: string) => `
gateway: { id: line-4, profile: simulated, dataDir: data }
upstream: { url: "${mosquitto.url}", reconnect: { minSecs: 0.01, maxSecs: 0.1 } }
hub: { hostName: localhost, listen: { mqtt: "127.0.0.1:${port}" } }
storeAndForward: { commitEveryMs: 20, quota: 16MiB, keepFree: 1% }
children:
${sensors}
  - { id: valve, serial: { port: ${cable.port}, decoder: json } }
  - { id: pump, connected: {} }
modules:
  - id: tell
    query: |
      SELECT 'write' AS command, CONCAT('cool ', CAST(System.Timestamp() AS nvarchar(max))) AS line INTO output FROM input
    outputs: { output: [ { command: valve }, { command: pump } ] }
routes:
  in: FROM /messages WHERE NOT IS_DEFINED($connectionModuleId) INTO BrokeredEndpoint("/modules/tell/inputs/input")
  up: FROM /messages/modules/tell/* INTO $upstream
`;
    let gateway: GatewayProcess | null = null;
    const start = async (sensors = '') => (gateway = await startGateway({ dir, yaml: yaml(sensors) }));
    writeFileSync(join(dir, 'gateway.yaml'), yaml(''));
    const children = { version: 1, issuedAt: new Date().toISOString(), children: [] as object[] };
    children.children.push({ id: 'pump', auth: byPassword('a password') });
    writeFileSync(join(dir, 'children.json'), JSON.stringify(children), { mode: 0o600 });
    const imported = await holdfast([
      'children',
      'import',
      join(dir, 'children.json'),
      '-c',
      join(dir, 'gateway.yaml'),
    ]);
    assert.equal(imported.code, 0, imported.stderr);
    const pumpTold: { id: string; payload: { line: string } }[] = [];
    let answers = false;
    const pump = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      clientId: 'pump',
      username: 'pump',
      password: 'a password',
      reconnectPeriod: 20,
    });
    pump.on('error', () => undefined);
    pump.on('connect', () => pump.subscribe('holdfast/v1/line-4/pump/methods/+/req/+'));
    pump.on('message', (topic, body) => {
      pumpTold.push(JSON.parse(body.toString()) as (typeof pumpTold)[number]);
      if (answers) pump.publish(topic.replace('/req/', '/res/'), '{"status":200}');
    });
    try {
      // The rule says all that it has to say; the valve is not there, and the pump hears and does not answer.
      await start(`  - { id: press-1, simulated: { sendIntervalMs: 30, messageCount: ${COMMANDS} } }`);
      await watcher.until('what the rule said', ({ events }) => events.length === COMMANDS);
      const lines = watcher.events.map(({ body }) => (JSON.parse(body.toString()) as { line: string }).line);
      await until('the pump to be told', () => pumpTold.length > 0);
      await gateway!.kill();
      assert.equal(await open(dataDir), 2 * COMMANDS);
      // The same again.
      pumpTold.length = 0;
      await start();
      await until('the pump to be told again', () => pumpTold.length > 0);
      await gateway!.kill();
      assert.equal(await open(dataDir), 2 * COMMANDS);
      await cable.plugIn();
      pumpTold.length = 0;
      answers = true;
      await start();
      let heard = '';
      while (heard.split('\n').length <= COMMANDS) heard += (await cable.hear()).toString();
      assert.deepEqual(heard.split('\n').slice(0, -1), lines);
      await until('the pump to be told all', () => pumpTold.length === COMMANDS);
      assert.deepEqual(
        pumpTold.map(({ id, payload }) => [id, payload.line]),
        lines.map((line) => [`tell/${line.slice('cool '.length).replace(/(0000|0)Z$/, 'Z')}/0`, line]),
      );
      assert.equal(await gateway!.stop(), 0);
      assert.equal(await open(dataDir), 0);
    } finally {
      await (gateway as GatewayProcess | null)?.kill();
      await pump.endAsync(true);
      await cable.discard();
      await watcher.end();
      await mosquitto.end();
    }
  },
);
