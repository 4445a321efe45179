import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { publicJwkIn } from '../src/registry/jwk.ts';
import { hashPassword } from '../src/registry/password.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { documentOf, fleet, sealed } from './parts/sealed-documents.ts';

const TOPIC = 'holdfast/v1/line-4';

test('a document that came over a broker once lets its children in for good, also after a restart without a network', async () => {
  const dir = scratch();
  const [broker, port] = [await startMosquitto(), await freePort()];
  writeFileSync(join(dir, 'fleet.jwk'), JSON.stringify(fleet.public));
  const yaml = `
gateway: { id: line-4, dataDir: data }
storeAndForward: { quota: 16MiB, keepFree: 0% }
upstream: { url: "${broker.url}" }
hub: { hostName: gateway.local, listen: { mqtt: ${port} } }
registry: { trust: fleet.jwk }
`;
  let gateway = await startGateway({ dir, yaml });
  const say = (...args: string[]) => holdfast([...args, '-c', gateway.config]);
  const comeIn = async () => {
    const options = { username: 'panel', password: 'correct horse', clientId: 'panel', reconnectPeriod: 0 };
    const panel = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, options, false);
    await panel.endAsync();
  };
  const operator = await mqtt.connectAsync(broker.url);
  try {
    await assert.rejects(comeIn(), /Server unavailable/);
    const told = new Promise<Buffer>((resolve) => operator.once('message', (_, body) => resolve(body)));
    await operator.subscribeAsync(`${TOPIC}/key`);
    const key = publicJwkIn(JSON.parse((await told).toString()), 'enc');
    const document = documentOf(1, [
      { id: 'panel', auth: { password: await hashPassword(Buffer.from('correct horse')) } },
    ]);
    const good = await sealed(document, { to: [key], by: fleet.private });
    const retained = { qos: 1, retain: true } as const;
    await operator.publishAsync(`${TOPIC}/children`, await sealed(document, { to: [key] }), retained);
    await gateway.waitForLog(/a registry document was not taken.*is not signed/);
    await operator.publishAsync(`${TOPIC}/children`, good, retained);
    await gateway.waitForLog(/"msg":"a registry document was taken"/);
    await comeIn();
    assert.match(
      (await say('status')).stdout,
      /^registry +version 1, signed, taken (.* ago|at a time unknown): 1 child$/m,
    );
    assert.match(
      (await say('check', '--only', 'registry')).stdout,
      /^OK +registry +version 1 was taken at .*: 1 child;/m,
    );
    assert.match((await say('children', 'list')).stdout, /panel .*upstream/);
    assert.match((await say('children', 'remove', 'panel')).stderr, /comes from upstream: change it there/);
  } finally {
    operator.end(true);
    await broker.end();
    await gateway.kill();
  }
  gateway = await startGateway({ dir, yaml });
  try {
    await comeIn();
    assert.match((await say('status')).stdout, /^registry +version 1, signed/m);
  } finally {
    await gateway.kill();
  }
});
