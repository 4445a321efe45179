import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UpstreamRig } from './parts/upstream-rig.ts';
import type { Line } from '../src/upstream/downlink.ts';
import { DEAF } from './parts/downlinks.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { until } from './parts/until.ts';

test('what a broker that acknowledges nothing leaves no room for is refused, and not left waiting', async (t) => {
  const mosquitto = await startMosquitto();
  t.after(() => mosquitto.end());
  let line: Line | null = null;
  const downlink = { ...DEAF, connected: (connection: Line) => void (line = connection) };
  const rig = await UpstreamRig.open(mosquitto.url, { downlink });
  t.after(() => rig.end());
  rig.upstream.start();
  await until('it to be online', () => rig.upstream.snapshot().state === 'online' && line !== null);
  const reasons: number[] = [];
  // All in one turn: none is answered meanwhile.
  for (let n = 0; n < 1100; n++)
    line!.publish({ topic: 'holdfast/v1/line-4/line-4/twin/reported', body: Buffer.from('{}') }, (reason) =>
      reasons.push(reason),
    );
  await until('each to be answered', () => reasons.length === 1100);
  const refused = reasons.filter((reason) => reason === 0x97).length;
  assert.ok(refused >= 100 && refused <= 110, `${refused} are refused`);
});
