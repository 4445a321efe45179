import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import mqtt, { type MqttClient } from 'mqtt';
import { holdfast, RunningCommand } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { scratch } from './parts/scratch.ts';

let broker: Mosquitto;
let publisher: MqttClient;

before(async () => {
  broker = await startMosquitto();
  publisher = await mqtt.connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 20 });
  publisher.on('error', () => undefined);
});

after(async () => {
  await publisher.endAsync(true);
  await broker.end();
});

/** An event as a gateway would send it. */
async function event(
  gateway: string,
  seq: number,
  body: string | Buffer,
  { child = 'press-1', epoch = 1, lane = 10 } = {},
) {
  await publisher.publishAsync(`holdfast/v1/${gateway}/${child}/events`, body, {
    qos: 1,
    properties: {
      contentType: 'application/json',
      userProperties: {
        id: `ID${seq}`,
        epoch: String(epoch),
        lane: String(lane),
        seq: String(seq),
        t: '2026-01-02T03:04:05.678Z',
        at: '2026-01-02T03:04:06.000Z',
        clock: 'synced',
        'p-room': 'hall',
      },
    },
  });
}

/** A monitor that is subscribed. */
async function watching(...args: string[]): Promise<RunningCommand> {
  const command = new RunningCommand(['monitor', '--url', broker.url, ...args]);
  await command.said(/^watching /, 'stderr');
  return command;
}

function lines(text: string): Record<string, unknown>[] {
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('monitor', () => {
  test('shows what a real gateway sends, without throwing it out', async () => {
    const dir = scratch();
    const gateway = await startGateway({
      dir,
      yaml: `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${broker.url}" }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20 }
children: [{ id: press-1, simulated: { sendIntervalMs: 50, messageCount: -1 } }]
`,
    });
    try {
      await gateway.waitForLog(/connected to/);
      const { code, stdout, stderr } = await holdfast(['monitor', '--json', '--count', '3', '-c', gateway.config]);
      assert.equal(code, 0);
      assert.equal(stderr, `watching line-4 at ${broker.url}\n`);
      const seen = lines(stdout);
      assert.equal(seen.length, 3);
      const keys = 'gateway child module output epoch lane seq id eventTime receivedAt properties body';
      assert.equal(Object.keys(seen[0]!).join(' '), keys);
      assert.deepEqual(
        seen.map(({ seq }) => Number(seq) - Number(seen[0]!['seq'])),
        [0, 1, 2],
      );
      assert.equal(seen[0]!['gateway'], 'line-4');
      assert.equal(seen[0]!['module'], null);
      assert.match(String(seen[0]!['id']), /^[0-9A-Z]{26}$/);
      assert.ok(!gateway.log.some((line) => line.includes('lost')), 'the gateway kept its connection');
      const text = await holdfast(['monitor', '--count', '1', '--child', 'press-1', '-c', gateway.config]);
      assert.match(text.stdout, /^\S+Z {2}line-4\/press-1 {2}1\.10\.\d+ {2}\{"machine":.*\n$/);
    } finally {
      await gateway.stop();
    }
  });

  test('shows bodies parsed, as text or in base64, whatever version of MQTT they came with', async () => {
    const monitor = await watching('--json', '--gateway', 'bodies', '--count', '4');
    await event('bodies', 1, '{"a":1}');
    await event('bodies', 2, 'warm');
    await event('bodies', 3, Buffer.from([0xff, 0x00]));
    const bag = 'content-type=text%2Fplain&id=X&epoch=1&lane=10&seq=4&p-room=a%2Fb';
    await publisher.publishAsync(`holdfast/v1/bodies/bodies/modules/m/events/out/?${bag}`, '7', { qos: 1 });
    const { stdout } = await monitor.ended;
    const seen = lines(stdout);
    assert.deepEqual(
      seen.map(({ body }) => body),
      [{ a: 1 }, 'warm', { base64: '/wA=' }, 7],
    );
    const { receivedAt, ...rest } = seen[0]!;
    assert.ok(Math.abs(Date.parse(String(receivedAt)) - Date.now()) < 60_000);
    assert.deepEqual(rest, {
      gateway: 'bodies',
      child: 'press-1',
      module: null,
      output: null,
      epoch: 1,
      lane: 10,
      seq: 1,
      id: 'ID1',
      eventTime: '2026-01-02T03:04:05.678Z',
      properties: { room: 'hall' },
      body: { a: 1 },
    });
    assert.equal(seen[3]!['module'], 'm');
    assert.equal(seen[3]!['output'], 'out');
    assert.deepEqual(seen[3]!['properties'], { room: 'a/b' });
  });

  test('points out gaps, repeats, new epochs and loss reports, also among children that it does not show', async () => {
    const monitor = await watching('--gateway', 'gappy', '--child', 'shown', '--count', '2');
    const shown = { child: 'shown' };
    await event('gappy', 5, '{}', shown);
    await event('gappy', 6, '{}');
    await event('gappy', 9, '{}');
    await event('gappy', 9, '{}');
    const loss = { epoch: 1, lane: 10, reason: 'evicted', firstSeq: 10, lastSeq: 20, count: 11, exact: true };
    await publisher.publishAsync('holdfast/v1/gappy/losses', JSON.stringify(loss), { qos: 1 });
    await event('other', 77, '{}', shown);
    await event('gappy', 1_048_600, '{}', { ...shown, epoch: 2 });
    const { code, stdout, stderr } = await monitor.ended;
    assert.equal(code, 0);
    assert.equal(stdout.trim().split('\n').length, 2);
    assert.deepEqual(stderr.trim().split('\n').slice(1), [
      'gappy, epoch 1, lane 10: gap: seq 7 to 8 (2 messages) did not come',
      'gappy, epoch 1, lane 10: seq 9 again, or late: 9 was there before',
      'gappy, epoch 1, lane 10: lost, as it reports: 11 of seq 10 to 20 (11 messages), reason evicted',
      'gappy: epoch 2 begins, after 1',
    ]);
  });

  test('lets no message command the terminal', async () => {
    const monitor = await watching('--gateway', 'rude', '--count', '1');
    await event('rude', 1, '\u001b[2Jgone\u009b');
    const { stdout } = await monitor.ended;
    assert.match(stdout, / {2}\\u001b\[2Jgone\\u009b room=hall\n$/);
  });

  test('comes back when the broker does, and does not blame the gateway for what it missed', async () => {
    const monitor = await watching('--json', '--gateway', 'patient');
    await event('patient', 1, '1');
    await monitor.said(/"seq":1,/);
    await broker.kill();
    await monitor.said(/the connection was lost/, 'stderr');
    await broker.start();
    await monitor.said(/watching again: patient/, 'stderr');
    await event('patient', 9, '9');
    await monitor.said(/"seq":9,/);
    assert.doesNotMatch(monitor.stderr, /gap/);
    monitor.process.kill('SIGINT');
    assert.equal((await monitor.ended).code, 0);
  });

  test('does not storm a broker that lets it in and hangs up each time', async () => {
    const at: number[] = [];
    const rogue = await startRogueBroker({
      onSubscribe: (connection, { messageId, subscriptions }) => {
        at.push(performance.now());
        connection.send({ cmd: 'suback', messageId: messageId!, granted: subscriptions.map(() => 1) });
        connection.socket.end();
      },
    });
    const monitor = new RunningCommand(['monitor', '--url', rogue.url]);
    try {
      await rogue.until('it to come a fourth time', () => at.length >= 4);
    } finally {
      monitor.process.kill('SIGINT');
      await rogue.end();
    }
    // 250 ms, 500 ms and 1 s, less the time that it was let in.
    assert.ok(at[3]! - at[0]! > 1500, `four connections within ${at[3]! - at[0]!} ms`);
    assert.equal((await monitor.ended).code, 0);
  });

  test('of a broker that is not there, or does not let it in, ends with one line', async () => {
    const nowhere = `mqtt://127.0.0.1:${await freePort()}`;
    const absent = await holdfast(['monitor', '--url', nowhere]);
    assert.equal(absent.code, 1);
    assert.match(absent.stderr, new RegExp(`^holdfast: cannot watch ${nowhere}: connect ECONNREFUSED .*\n$`));
    const closed = await startMosquitto({ anonymous: false });
    try {
      const refused = await holdfast(['monitor', '--url', closed.url.replace('//', '//eve:secret@')]);
      assert.equal(refused.code, 1);
      assert.equal(refused.stderr, `holdfast: cannot watch ${closed.url}: Connection refused: Not authorized\n`);
    } finally {
      await closed.end();
    }
  });

  test('of a gateway without upstream says which option names a broker', async () => {
    const config = join(scratch(), 'gateway.yaml');
    writeFileSync(config, 'gateway: { id: line-4 }\n');
    const { code, stderr } = await holdfast(['monitor', '-c', config]);
    assert.equal(code, 1);
    assert.match(stderr, /names no upstream; name a broker with --url/);
  });
});
