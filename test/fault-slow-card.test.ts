import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Awake } from './parts/awake.ts';
import { BlockStack, noBlockStack } from './parts/block-stack.ts';
import { holdfast } from './parts/command.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';
import { LoopWatch } from './parts/loop-watch.ts';
import { errorsIn, gatewayYaml, seenStatus } from './parts/supervised-gateway.ts';

const MIB = 2 ** 20;
/** What a worn-out card still does, requests a second. */
const SLOW = 8;
const SLOW_MS = 4000;
/** The loop turns at least this often while a commit takes a second, ms. */
const LOOP_MS_MAX = 100;

describe('a card that takes eight requests a second', { skip: noBlockStack() }, () => {
  test('slows acknowledgements down and nothing else: they come after their commit, the event loop turns', async (context) => {
    const stack = await BlockStack.start({ bytes: 96 * MIB });
    const rig = await SpoolRig.open({ dataDir: join(stack.dir, 'data'), quota: { bytes: 16 * MIB } });
    try {
      let accepted = 0;
      let durable = 0;
      let early = 0;
      const accept = () => {
        const seq = ++accepted;
        void rig.accept(noise(500)).then(() => {
          durable++;
          if (rig.books().lanes[10]!.nextSeq <= seq) early++;
        });
      };
      for (let n = 0; n < 500; n++) accept();
      await rig.spool.flush();
      await stack.speed(SLOW);
      const { commits } = rig.spool.snapshot();
      const before = durable;
      const loop = await LoopWatch.start();
      let longest = 0;
      for (const end = performance.now() + SLOW_MS; performance.now() < end;) {
        accept();
        // Draining goes on beside it.
        const [stored] = rig.take(1);
        if (stored !== undefined) rig.spool.delivered(stored, true);
        longest = Math.max(longest, rig.spool.snapshot().commitUnderWayMs);
        await sleep(10);
      }
      const done = rig.spool.snapshot().commits - commits;
      const loopMs = await loop.longest();
      context.diagnostic(
        `${accepted - 500} messages in ${SLOW_MS / 1000} s, ${durable - before} of them durable with ${done} commits, the ` +
          `longest took at least ${longest} ms; longest turn of the loop ${loopMs.toFixed(1)} ms`,
      );
      assert.ok(longest > 300, `the card is not slow: no commit took longer than ${longest} ms`);
      assert.ok(done >= 2, `${done} commits`);
      assert.ok(loopMs < LOOP_MS_MAX, `the loop stood still for ${loopMs} ms`);
      assert.equal(rig.spool.snapshot().fault, null);
      await stack.speed(null);
      await rig.spool.flush();
      await rig.audit();
      assert.equal(durable, accepted);
      assert.equal(early, 0, 'acknowledged before they were on the medium');
    } finally {
      await stack.speed(null);
      await rig.close();
      await stack.end();
    }
  });

  test('leaves the gateway answering, and stopping in time', async (context) => {
    const stack = await BlockStack.start({ bytes: 96 * MIB });
    const dir = scratch();
    const gateway = await startGateway({ dir, yaml: gatewayYaml({ dataDir: join(stack.dir, 'data') }) });
    try {
      await stack.speed(SLOW);
      await sleep(2000);
      const asking = new Awake();
      const { spool, ledger } = await seenStatus(gateway.config);
      const statusMs = Math.round(asking.stop());
      assert.equal(spool.fault, null);
      assert.equal((await holdfast(['method', 'invoke', 'press-1', 'reset', '-c', gateway.config])).code, 0);
      const stopping = new Awake();
      const code = await gateway.stop();
      const stopMs = Math.round(stopping.stop());
      context.diagnostic(`${ledger.accepted} accepted; status took ${statusMs} ms, stopping ${stopMs} ms (${code})`);
      assert.ok(statusMs < 2000, `status took ${statusMs} ms`);
      // systemd kills what has not stopped after TimeoutStopSec; the gateway itself leaves after 5 s.
      assert.ok(stopMs < 6000, `stopping took ${stopMs} ms`);
      if (code === 0) assert.deepEqual(errorsIn(gateway), []);
    } finally {
      await gateway.kill();
      await stack.end();
    }
  });
});
