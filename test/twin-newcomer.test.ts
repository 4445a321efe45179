import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqtt from 'mqtt';
import { startMosquitto } from './parts/mosquitto.ts';
import { NestedGateway } from './parts/nested-gateway.ts';
import { until } from './parts/until.ts';

test('what is desired of a child above is there when the child is added here, and when it is added anew', async (t) => {
  const mosquitto = await startMosquitto();
  t.after(() => mosquitto.end());
  const operator = await mqtt.connectAsync(mosquitto.url);
  t.after(() => operator.endAsync());
  const gateway = await NestedGateway.make({ id: 'line-4', upstream: mosquitto.url, children: ['door'] });
  t.after(() => gateway.kill());
  const desire = (child: string) =>
    operator.publishAsync(`holdfast/v1/line-4/${child}/twin/desired`, '{"$version":3,"speed":7}', {
      qos: 1,
      retain: true,
    });
  const has = (child: string) =>
    until(`${child} to have what is desired of it`, async () => {
      const { desired } = await gateway.command<{ desired: { speed?: number } }>(['twin', 'get', child]);
      return desired.speed === 7;
    });
  await Promise.all([desire('door'), desire('lamp')]);
  await gateway.start();
  await has('door');
  await gateway.command(['children', 'add', 'lamp', '--sas']);
  await has('lamp');
  await gateway.command(['children', 'remove', 'lamp']);
  await gateway.command(['children', 'add', 'lamp', '--sas']);
  await has('lamp');
  const connections = gateway.log.filter((line) => line.includes('connected to mqtt://'));
  assert.equal(connections.length, 1, 'over one connection');
});
