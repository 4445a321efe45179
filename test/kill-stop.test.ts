import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { lookAtSpool } from '../src/spool/files.ts';
import { verify } from '../src/spool/inspection.ts';
import { pendingOf } from '../src/spool/books.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { Awake } from './parts/awake.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  for (const upstream of ['there', 'away'] as const) {
    // Both signals take the same way; the longer of the ways is gone once.
    if (signal === 'SIGINT' && upstream === 'away' && process.env['HOLDFAST_TEST_LONG'] !== '1') continue;
    test(`${signal} under load, the broker ${upstream}: all that was accepted is on the medium, exit 0 within 5 s`, async (context) => {
      const mosquitto = await startMosquitto();
      const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
      const dir = scratch();
      const children = Array.from(
        { length: 8 },
        (_, n) => `  - { id: c${n}, simulated: { sendIntervalMs: 1, messageCount: -1 } }`,
      );
      const yaml = `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream: { url: ${upstream === 'there' ? mosquitto.url : 'mqtt://127.0.0.1:1'}, reconnect: { minSecs: 0.05, maxSecs: 0.1 } }
storeAndForward: { commitEveryMs: 60000 }
children:
${children.join('\n')}
`;
      const gateway = await startGateway({ dir, yaml });
      try {
        // Nothing but a full block, or the stop, commits: most of what is accepted waits in memory.
        const load = new Awake();
        await until('1.2 s of load', () => load.ms > 1200).finally(() => load.stop());
        const stopping = new Awake();
        let ms = 0;
        assert.equal(await gateway.stop(signal).finally(() => (ms = Math.round(stopping.stop()))), 0);
        assert.ok(ms < 5000, `stopping took ${ms} ms`);
        const accepted = await lookAtSpool(join(dir, 'data'), (reader, books) => {
          assert.deepEqual(verify(reader, books).problems, []);
          assert.equal(books.ledger.accepted, books.ledger.delivered + pendingOf(books));
          // Every number that was given has its message: none was left in memory.
          assert.equal(books.lanes[10]!.nextSeq - 1, books.ledger.accepted);
          return books.ledger.accepted;
        });
        assert.ok(accepted > 300, `only ${accepted} were accepted`);
        // What the sensors had handed over is what the next start delivers, to the last.
        const again = await startGateway({ dir, yaml: yaml.replace('127.0.0.1:1,', `127.0.0.1:${mosquitto.port},`) });
        await watcher.until(`${accepted} messages`, ({ events }) => events.some(({ seq }) => seq > accepted));
        await again.stop();
        assert.deepEqual(watcher.gaps(), []);
        assert.equal(watcher.firstSights()[0]!.seq, 1);
        assert.equal(watcher.outOfOrder().length, 0);
        context.diagnostic(`${accepted} accepted, stopped in ${ms} ms`);
      } finally {
        await gateway.kill();
        await watcher.end();
        await mosquitto.end();
      }
    });
  }
}
