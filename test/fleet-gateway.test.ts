import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { Fleet, type Identity } from '../src/fleet/fleet.ts';
import { OperatorFolder } from '../src/fleet/operator-folder.ts';
import { hashPassword } from '../src/registry/password.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

test('a real gateway lets in whom the fleet adds, cuts off whom it removes, and catches up after it was away', async () => {
  const broker = await startMosquitto();
  const [dir, keys, port] = [scratch(), scratch(), await freePort()];
  const fleet = await Fleet.connect({ url: broker.url, folder: keys });
  const yaml = (trust = '') => `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${broker.url}", reconnect: { minSecs: 0.1, maxSecs: 0.2 } }
hub: { hostName: gateway.local, listen: { mqtt: ${port} } }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20 }
${trust}
`;
  let gateway = await startGateway({ dir, yaml: yaml() });
  const connect = () =>
    mqtt.connectAsync(
      `mqtt://127.0.0.1:${port}`,
      { username: 'panel', password: 'open sesame', reconnectPeriod: 0 },
      false,
    );
  const panel: Identity = {
    id: 'panel',
    status: 'enabled',
    auth: { password: await hashPassword(Buffer.from('open sesame')) },
    modules: [],
  };
  try {
    await gateway.waitForLog(/connected to/);
    const added = await fleet.children.add('line-4', panel);
    assert.deepEqual([added.state, added.version, added.why, added.refused], ['applied', 1, null, []]);
    const child = await connect();
    let gone = false;
    child.on('close', () => (gone = true));
    const bad = await fleet.children.add('line-4', { ...panel, id: 'line-4' });
    assert.match(bad.refused[0]?.why ?? '', /id/, JSON.stringify(bad));
    assert.equal((await fleet.children.remove('line-4', 'line-4', null)).state, 'applied');
    assert.equal(gone, false);
    assert.equal((await fleet.children.remove('line-4', 'panel', null)).state, 'applied');
    await until('the child to be cut off', () => gone);
    await assert.rejects(connect());

    await gateway.stop();
    const away = await fleet.children.add('line-4', panel);
    assert.deepEqual([away.state, away.version], ['offline', 5]);
    gateway = await startGateway({ dir, yaml: yaml() });
    const back = await until('the child to be let in', () => connect().catch(() => null));
    await back.endAsync();

    // From now on only what is signed counts.
    await gateway.stop();
    writeFileSync(join(dir, 'fleet.pub.jwk'), JSON.stringify(new OperatorFolder(scratch()).makeSigningKey()));
    gateway = await startGateway({ dir, yaml: yaml('registry: { trust: fleet.pub.jwk }') });
    await gateway.waitForLog(/connected to/);
    const refused = await fleet.children.setStatus('line-4', 'panel', 'disabled');
    assert.equal(refused.state, 'refused');
    assert.match(refused.why ?? '', /not signed/);
    await (await connect()).endAsync();
  } finally {
    await gateway.kill();
    await fleet.close();
    await broker.end();
  }
});
