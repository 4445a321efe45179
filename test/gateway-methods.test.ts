import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import mqtt, { type MqttClient } from 'mqtt';
import { Commands, PAYLOAD_BYTES_MAX, type CommandResult } from '../src/commands/commands.ts';
import { GatewayMethods, type LoggedLine, type ProcessServices } from '../src/commands/gateway-methods.ts';
import { LogLevel } from '../src/health/log-level.ts';
import { LogRing } from '../src/health/log-ring.ts';
import { holdfast } from './parts/command.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { systemClock } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

/** Methods of a gateway that has two children, in a process that does what `host` says. */
function methodsOf(host: ProcessServices = {}) {
  const commands = new Commands(systemClock);
  commands.register('press-1', {
    command: (name, payload) => Promise.resolve({ status: 201, payload: [name, payload] }),
  });
  const restarted: string[] = [];
  const gateway = {
    status: () => ({ at: 0 }),
    list: () => [
      { id: 'press-1', kind: 'simulated' },
      { id: 'panel', kind: 'connected' },
    ],
    restart: (child: string) => {
      if (child === 'press-1') restarted.push(child);
      return Promise.resolve(child === 'press-1');
    },
    spoolDesk: { stats: () => ({ epoch: 1 }) },
    commands,
  };
  const statusText = ({ at }: { at: number }) => ({ at: new Date(at).toISOString() });
  commands.register(
    'line-4',
    new GatewayMethods({ id: 'line-4', gateway, clock: systemClock, process: host, statusText }),
  );
  const ask = (name: string, payload: unknown = null) => commands.invoke('line-4', name, payload);
  return { ask, restarted };
}

const errorOf = ({ payload }: CommandResult) => (payload as { error: string }).error;
const linesOf = ({ payload }: CommandResult) => payload as { lines: LoggedLine[]; truncated: boolean };

describe('a method of the gateway', () => {
  test('is known by its name in any case; an unknown one brings the names that there are', async () => {
    const { ask } = methodsOf();
    for (const name of ['ping', 'PING', 'Ping']) assert.equal((await ask(name)).status, 200, name);
    assert.deepEqual(await ask('SpoolStats'), { status: 200, payload: { epoch: 1 } });
    assert.deepEqual(await ask('status'), { status: 200, payload: { at: '1970-01-01T00:00:00.000Z' } });
    const unknown = await ask('getLog');
    assert.equal(unknown.status, 404);
    assert.equal(
      errorOf(unknown),
      'the gateway has no method "getLog"; did you mean getLogs? It has getLogs, GetModuleLogs, invoke, ping, reload, restart, RestartModule, setLogLevel, spoolStats, status',
    );
  });

  test('that is given something wrong answers 400 with what would be right', async () => {
    const { ask } = methodsOf({ logs: () => [] });
    const cases: readonly (readonly [name: string, payload: unknown, error: string])[] = [
      [
        'getLogs',
        { tail: 0 },
        'tail: 0 is not a whole number from 1 to 2000 (getLogs takes {"tail": 100, "child": "press-1", "level": "warn"}, each of them optional)',
      ],
      [
        'getLogs',
        { chlid: 'press-1' },
        '"chlid" is no key of it; did you mean "child"? (getLogs takes {"tail": 100, "child": "press-1", "level": "warn"}, each of them optional)',
      ],
      [
        'setLogLevel',
        { level: 'warm' },
        'level: "warm" is not one of trace, debug, info, warn, error; did you mean "warn"? (setLogLevel takes {"level": "debug"}, or {"level": null} for the configured one)',
      ],
      [
        'setLogLevel',
        null,
        'missing; write an object (setLogLevel takes {"level": "debug"}, or {"level": null} for the configured one)',
      ],
      [
        'restart',
        'press-1',
        '"press-1" is not an object (restart takes {"child": "press-1"}, or nothing for the whole gateway)',
      ],
      [
        'invoke',
        { child: 'press-1' },
        'method: missing; write for example "press-1" (invoke takes {"child": "press-1", "method": "reset", "payload": null, "responseTimeoutSecs": 30})',
      ],
      [
        'invoke',
        { child: 'line-4', method: 'ping' },
        '"line-4" is the gateway: its methods are invoked by their own names',
      ],
    ];
    for (const [name, payload, error] of cases) {
      const answer = await ask(name, payload);
      assert.deepEqual([answer.status, errorOf(answer)], [400, error]);
    }
  });

  test('passes on to a child what reaches only the gateway, and its answer back', async () => {
    const { ask } = methodsOf();
    assert.deepEqual(await ask('invoke', { child: 'press-1', method: 'reset', payload: { a: 1 } }), {
      status: 201,
      payload: ['reset', { a: 1 }],
    });
    assert.deepEqual(await ask('invoke', { child: 'press-1', method: 'reset' }), {
      status: 201,
      payload: ['reset', null],
    });
    assert.equal((await ask('invoke', { child: 'nobody', method: 'reset' })).status, 404);
  });

  test('restarts one driver, or all of them where nobody would start the process again', async () => {
    const { ask, restarted } = methodsOf();
    assert.deepEqual((await ask('restart', { child: 'press-1' })).payload, {
      restarted: 'children',
      children: ['press-1'],
    });
    assert.deepEqual((await ask('RestartModule', { schemaVersion: '1.0', id: 'press-1' })).status, 200);
    assert.deepEqual((await ask('restart')).payload, { restarted: 'children', children: ['press-1'] });
    assert.equal(restarted.length, 3);
    const stranger = await ask('restart', { child: 'press' });
    assert.deepEqual([stranger.status, errorOf(stranger)], [404, 'there is no child "press"; did you mean "press-1"?']);
    assert.equal((await ask('restart', { child: 'panel' })).status, 409);
  });

  test('that the process cannot carry out says so; what is wrong with a file comes back', async () => {
    const { ask } = methodsOf();
    for (const [name, payload] of [['getLogs'], ['reload'], ['setLogLevel', { level: 'info' }]] as const)
      assert.equal((await ask(name, payload ?? null)).status, 501, name);
    const broken = methodsOf({
      reload: () => {
        throw new Error('gateway.yaml:1:1: no');
      },
    });
    assert.deepEqual(await broken.ask('reload'), { status: 409, payload: { error: 'gateway.yaml:1:1: no' } });
  });
});

describe('the log, from above', () => {
  const ring = new LogRing('json', () => undefined);
  const level = new LogLevel('info');
  const log = ring.logger(level, systemClock);
  const child = log.child({ child: 'press-1' });
  const { ask } = methodsOf({ logs: (count, of) => ring.tail(count, of), level });

  test('is cut to the last lines, one child, or what is as important as a level', async () => {
    for (let n = 0; n < 150; n++) log.info(`line ${n}`);
    child.warn('worn');
    const { lines, truncated } = linesOf(await ask('getLogs'));
    assert.deepEqual([lines.length, truncated], [100, false]);
    const worn = { level: 'warn', child: 'press-1', message: 'worn', fields: {} };
    const last = linesOf(await ask('getLogs', { tail: 1 })).lines[0]!;
    assert.deepEqual(last, { ...worn, time: last.time });
    assert.match(String(last.time), /^\d{4}-.*Z$/);
    assert.deepEqual(linesOf(await ask('getLogs', { child: 'press-1' })).lines, [last]);
    assert.deepEqual(linesOf(await ask('getLogs', { level: 'warn' })).lines, [last]);
    assert.deepEqual(linesOf(await ask('getLogs', { level: 'error' })).lines, []);
    const asEdge = { schemaVersion: '1.0', items: [{ id: '.*', filter: { tail: 5, loglevel: 4 } }], encoding: 'none' };
    assert.deepEqual(linesOf(await ask('GetModuleLogs', asEdge)).lines, [last]);
    assert.equal((await ask('getLogs', { child: 'nobody' })).status, 404);
  });

  test('fits what a method may answer: the newest lines of it, and says that it was cut', async () => {
    for (let n = 0; n < 200; n++) log.info(`${n} ${'ö'.repeat(1000)}`);
    const answer = await ask('getLogs', { tail: 2000 });
    const { lines, truncated } = linesOf(answer);
    assert.equal(truncated, true);
    const bytes = Buffer.byteLength(JSON.stringify(answer.payload));
    assert.ok(bytes <= PAYLOAD_BYTES_MAX && bytes > PAYLOAD_BYTES_MAX - 3000, `${bytes} bytes`);
    assert.match((lines.at(-1) as unknown as { message: string }).message, /^199 /);
  });

  test('has more in it, or less, from now on: from those, too, that were logging already', async () => {
    assert.deepEqual((await ask('setLogLevel', { level: 'debug' })).payload, { level: 'debug', configured: 'info' });
    child.debug('fine detail');
    assert.equal(ring.tail(1)[0]!.message, 'fine detail');
    level.fromAbove('error');
    assert.equal(child.level, 'debug', 'who asks here and now says better than settings');
    assert.deepEqual((await ask('setLogLevel', { level: null })).payload, { level: 'error', configured: 'info' });
    assert.equal(child.level, 'error');
    level.fromAbove(null);
    assert.deepEqual([child.level, log.level], ['info', 'info']);
  });
});

describe('the methods of a gateway that runs', () => {
  let broker: Mosquitto;
  let gateway: GatewayProcess;
  let above: MqttClient;
  const dir = scratch();
  const yaml = (quota: string) => `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${broker.url}", reconnect: { minSecs: 0.1, maxSecs: 0.5 } }
storeAndForward: { quota: ${quota}, keepFree: 0%, commitEveryMs: 20 }
children: [{ id: press-1, simulated: { sendIntervalMs: 1000, messageCount: 1 } }]
`;
  const answers = new Map<string, { status: number; payload: Record<string, unknown> }>();

  /** Asks from above, over the broker. */
  async function askAbove(name: string, payload: unknown = null) {
    const rid = String(answers.size + 1);
    await above.publishAsync(
      `holdfast/v1/line-4/line-4/methods/${name}/req/${rid}`,
      JSON.stringify({ payload, responseTimeoutSecs: 10, sentAt: Date.now() }),
    );
    return until(`an answer to ${name}`, () => answers.get(rid) ?? null);
  }

  before(async () => {
    broker = await startMosquitto();
    above = await mqtt.connectAsync(broker.url);
    above.on('message', (topic, body) => void answers.set(topic.split('/').at(-1)!, JSON.parse(body.toString())));
    await above.subscribeAsync('holdfast/v1/line-4/line-4/methods/+/res/+');
    gateway = await startGateway({
      dir,
      yaml: yaml('16MiB'),
      // As under systemd, which starts us again.
      env: { NOTIFY_SOCKET: join(dir, 'nobody') },
    });
    await gateway.waitForLog(/connected to/);
  });
  after(async () => {
    await gateway.kill();
    await above.endAsync();
    await broker.end();
  });

  test('answer on the command line and from above alike', async () => {
    const here = await holdfast(['method', 'invoke', 'line-4', 'PING', '--json', '-c', gateway.config]);
    assert.equal(here.code, 0, here.stderr);
    assert.match((JSON.parse(here.stdout) as { payload: { wall: string } }).payload.wall, /Z$/);
    assert.equal((await askAbove('ping')).status, 200);
    assert.equal((await askAbove('status')).payload['gateway'], 'line-4');
    assert.equal((await askAbove('spoolStats')).payload['epoch'], 1);
    const { lines } = (await askAbove('getLogs', { tail: 500 })).payload as { lines: { message: string }[] };
    assert.ok(
      lines.some(({ message }) => message === 'running'),
      'the log says that it runs',
    );
    assert.equal((await askAbove('invoke', { child: 'press-1', method: 'reset' })).status, 200);
  });

  test('set how much is logged, and read the configuration again', async () => {
    assert.deepEqual((await askAbove('setLogLevel', { level: 'trace' })).payload, {
      level: 'trace',
      configured: 'info',
    });
    assert.deepEqual((await askAbove('setLogLevel', { level: null })).payload, { level: 'info', configured: 'info' });
    writeFileSync(gateway.config, yaml('24MiB'));
    assert.deepEqual((await askAbove('reload')).payload, { applied: ['storeAndForward.quota'], needRestart: [] });
    writeFileSync(gateway.config, yaml('24 potatoes'));
    const refused = await askAbove('reload');
    assert.equal(refused.status, 409);
    assert.match(String(refused.payload['error']), /potatoes/);
  });

  test('restart it, after the answer', async () => {
    const answer = await askAbove('restart');
    assert.deepEqual(answer.payload, { restarted: 'gateway', pid: gateway.process.pid });
    assert.equal(await gateway.whenEnded(), 75);
  });
});
