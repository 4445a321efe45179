import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Awake } from './parts/awake.ts';
import { openGate } from './parts/gate.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { script } from './parts/script.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';
import { until } from './parts/until.ts';

test(
  'a link that goes down ends the connection within a second, one that comes back ends the wait; addresses that do not answer are passed by',
  { skip: process.getuid?.() !== 0 && 'SKIP: needs root, for a network of its own' },
  (context) => {
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--net', process.execPath, ...script('test/parts/link-worker')],
      {
        encoding: 'utf8',
        timeout: 60_000,
      },
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout, /done\n$/);
    context.diagnostic(stdout.split('\n')[0]!);
  },
);

test('a connection that falls silent is given up after 1.5 keepalives', async (context) => {
  const KEEPALIVE_MS = 2000;
  const mosquitto = await startMosquitto();
  const gate = await openGate(mosquitto.port);
  const rig = await UpstreamRig.open(gate.url, {
    keepaliveSecs: KEEPALIVE_MS / 1000,
    // Waits as long as it may: one of a moment would not be seen.
    reconnect: { minSecs: 60, maxSecs: 60 },
    random: () => 1,
  });
  try {
    rig.upstream.start();
    await until('the connection', () => rig.upstream.snapshot().state === 'online');
    await rig.fill(10);
    await rig.drained();
    gate.silence();
    const awake = new Awake();
    await until('the loss', () => rig.upstream.snapshot().state === 'waiting');
    const took = awake.stop();
    context.diagnostic(`${(took / KEEPALIVE_MS).toFixed(2)} keepalives`);
    assert.equal(rig.upstream.snapshot().lastError, 'Keepalive timeout');
    // A second ping, unanswered, would make it 2.
    assert.ok(took < 1.75 * KEEPALIVE_MS, `${took} ms`);
  } finally {
    await rig.end();
    await gate.close();
    await mosquitto.end();
  }
});
