import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openGate } from './parts/gate.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const MESSAGES = LONG ? 10_000 : 3000;
const CHILDREN = 10;
const WINDOW = 128;
/** How long the broker stays away, ms. */
const AWAY_MS = LONG ? 5000 : 400;

/**
 * The ways in which a broker goes: as an operator stops it, killed, killed with connections silent before, network cut, and
 * network silent. The gateway reaches it through a gate that opens again only when the watcher is back: what a broker
 * acknowledges while nobody is subscribed is not ours to answer for.
 */
const OUTAGES = ['stop', 'kill', 'freeze', 'cut', 'silence'] as const;

/** Whether the last that it said of its connection is that it is lost. */
function lost({ log }: GatewayProcess): boolean {
  const last = log.findLast((line) => /connected to |connection to .* lost/.test(line));
  return last !== undefined && last.includes(' lost');
}

async function outages(context: TestContext, protocol: '5' | '3.1.1', write: 'always' | 'when-needed'): Promise<void> {
  const mosquitto = await startMosquitto({ persistence: true });
  const gate = await openGate(mosquitto.port);
  const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
  const dir = scratch();
  const children = Array.from(
    { length: CHILDREN },
    (_, n) => `  - { id: c${n}, simulated: { sendIntervalMs: 5, messageCount: ${MESSAGES / CHILDREN} } }`,
  );
  const gateway = await startGateway({
    dir,
    yaml: `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream:
  url: ${gate.url}
  protocol: "${protocol}"
  window: ${WINDOW}
  keepaliveSecs: 1
  reconnect: { minSecs: 0.05, maxSecs: 0.2 }
storeAndForward: { write: ${write} }
children:
${children.join('\n')}
`,
  });
  const begun = performance.now();
  try {
    for (const [n, outage] of OUTAGES.entries()) {
      // The outages are spread over the readings: each begins once its share has arrived.
      const share = (MESSAGES / 10) * (n + 1);
      await watcher.until(`${share} messages`, ({ events }) => events.length >= share);
      await until('the gateway to have its broker', () => !lost(gateway));
      if (outage === 'stop') await mosquitto.stop();
      else if (outage === 'kill') await mosquitto.kill();
      else if (outage === 'freeze') mosquitto.freeze();
      else if (outage === 'silence') gate.silence();
      else await gate.close();
      // Silence is noticed by the keepalive; it may have lost the connection before, where this machine stood still for longer.
      await until('the gateway to be without its broker', () => lost(gateway));
      await gate.close();
      await sleep(AWAY_MS);
      if (outage === 'freeze') await mosquitto.kill();
      if (!mosquitto.running) {
        await mosquitto.start();
        await watcher.whenSubscribed(watcher.subscribed + 1);
      }
      await gate.open();
    }
    const enough = () => watcher.events.length >= MESSAGES && watcher.firstSights().length >= MESSAGES;
    await watcher.until(() => `all; ${watcher.firstSights().length} are there`, enough, 60_000);
    assert.equal(await gateway.stop(), 0);
    const first = watcher.firstSights();
    assert.equal(first.length, MESSAGES);
    assert.deepEqual(watcher.gaps(), []);
    assert.deepEqual([first[0]!.seq, first.at(-1)!.seq, first[0]!.epoch], [1, MESSAGES, 1]);
    assert.equal(watcher.outOfOrder().length, 0);
    assert.equal(watcher.contradictions().length, 0);
    assert.ok(watcher.repeats() <= OUTAGES.length * WINDOW, `${watcher.repeats()} came twice`);
    assert.deepEqual(watcher.losses, []);
    for (const { contentType, properties, clock, eventTime, acceptedAt, body } of first) {
      assert.equal(contentType, 'application/json');
      assert.deepEqual(properties, {});
      assert.match(String(clock), /^(synced|unknown|restored)$/);
      assert.ok(eventTime !== null && acceptedAt !== null);
      assert.ok('machine' in (JSON.parse(body.toString()) as object));
    }
    context.diagnostic(
      `MQTT ${protocol}, write: ${write}: ${MESSAGES} messages over ${OUTAGES.length} outages in ${Math.round(performance.now() - begun)} ms, ` +
        `${watcher.repeats()} came twice`,
    );
  } finally {
    await gateway.kill();
    await watcher.end();
    await gate.close();
    await mosquitto.end();
  }
}

describe(`${MESSAGES} messages across 5 outages arrive in order, none missing`, { concurrency: 2 }, () => {
  for (const [protocol, write] of [
    ['5', 'when-needed'],
    ['3.1.1', 'always'],
    ...(LONG
      ? ([
          ['5', 'always'],
          ['3.1.1', 'when-needed'],
        ] as const)
      : []),
  ] as const) {
    test(`over MQTT ${protocol} (write: ${write})`, (context) => outages(context, protocol, write));
  }
});
