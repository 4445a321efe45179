import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import mqtt, { type MqttClient } from 'mqtt';
import { deviceCredentials } from '../src/config/iothub-device.ts';
import { iothubUpstream } from '../src/dialects/iothub-upstream.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import { asked } from './parts/asked.ts';
import { CertificateMaker } from './parts/child-certificates.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { GATEWAY, HubGateway, IOT_HUB, newKey, portsRefused, type Proof } from './parts/sdk-gateway.ts';
import { until } from './parts/until.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';
import { startWatcher, type Arrival, type Watcher } from './parts/watcher.ts';

/*
 * A gateway that speaks Azure IoT Hub's dialect upwards, against a gateway that speaks it downwards: the one the unmodified SDK is
 * tried with (hub-sdk.test.ts). Above that one stands a broker, where what was said comes out.
 */
const skip = await portsRefused();

/** The lower gateway, and the device that it is above. */
const LOWER = 'line-5';
const DEVICE = 'cell-5';
/** Whoever speaks for the operator, above both. */
const OPERATOR_ROOT = `holdfast/v1/${GATEWAY}/${DEVICE}`;

/** A gateway with a wired child, `press-1`, and one that connects, `pump`. */
class LowerGateway {
  readonly #yaml: string;
  readonly #dir: string;
  readonly #port: number;
  #process: GatewayProcess | null = null;

  private constructor(dir: string, yaml: string, port: number) {
    this.#dir = dir;
    this.#yaml = yaml;
    this.#port = port;
    writeFileSync(join(dir, 'gateway.yaml'), yaml);
  }

  static async made(upstream: readonly string[]): Promise<LowerGateway> {
    const dir = scratch();
    const port = await freePort();
    const yaml = `
gateway: { id: ${LOWER}, profile: simulated, dataDir: data }
upstream:
  dialect: iothub
  clientId: ${DEVICE}
  iothubName: ${IOT_HUB}
  reconnect: { minSecs: 0.05, maxSecs: 0.1 }
${upstream.map((line) => `  ${line}`).join('\n')}
hub: { hostName: localhost, listen: { mqtt: "127.0.0.1:${port}" } }
storeAndForward: { commitEveryMs: 20, quota: 16MiB, keepFree: 1% }
children:
  - { id: press-1, simulated: { sendIntervalMs: 100, messageCount: -1 } }
`;
    return new LowerGateway(dir, yaml, port);
  }

  get process(): GatewayProcess {
    assert.ok(this.#process, 'the lower gateway runs');
    return this.#process;
  }

  async start(): Promise<void> {
    this.#process = await startGateway({ dir: this.#dir, yaml: this.#yaml });
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  async command<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await holdfast([...args, '--json', '--config', join(this.#dir, 'gateway.yaml')]);
    assert.equal(code, 0, `holdfast ${args.join(' ')}: ${stdout}${stderr}`);
    return JSON.parse(stdout) as T;
  }

  async addPump(): Promise<void> {
    const file = join(this.#dir, 'pump-password');
    writeFileSync(file, 'secret\n', { mode: 0o600 });
    await this.command('children', 'add', 'pump', '--password-file', file);
  }

  /** Its child, and what that heard. Its session waits for it. */
  async pump() {
    const client = mqtt.connect(`mqtt://127.0.0.1:${this.#port}`, {
      clientId: 'pump',
      username: 'pump',
      password: 'secret',
      protocolVersion: 5,
      clean: false,
      properties: { sessionExpiryInterval: 3600 },
      reconnectPeriod: 20,
    });
    const heard: { readonly body: string; readonly properties: unknown }[] = [];
    client.on('error', () => undefined);
    client.on('message', (_, body, { properties }) =>
      heard.push({ body: body.toString(), properties: { ...properties?.userProperties } }),
    );
    await client.subscribeAsync(`holdfast/v1/${LOWER}/pump/commands`, { qos: 1 });
    return { client, heard };
  }
}

interface Scene {
  readonly upper: HubGateway;
  readonly watcher: Watcher;
  readonly operator: MqttClient;
  readonly ca: string;
}

/** `upper` runs, and knows the device by `proof`. */
async function scene(context: TestContext, proof: Proof, act: (scene: Scene) => Promise<void>): Promise<void> {
  const mosquitto = await startMosquitto({ persistence: true });
  const watcher = await startWatcher({ url: mosquitto.url });
  const operator = await mqtt.connectAsync(mosquitto.url, { protocolVersion: 5 });
  const dir = scratch();
  const upper = new HubGateway({
    dir,
    upstream: mosquitto.url,
    ownAuthority: true,
    storage: 'commitEveryMs: 20, quota: 16MiB, keepFree: 1%',
  });
  try {
    await upper.start();
    await upper.addChild(DEVICE, proof);
    await upper.trustOwn();
    const ca = join(dir, 'ca.pem');
    writeFileSync(ca, upper.ca);
    await act({ upper, watcher, operator, ca });
  } catch (error) {
    context.diagnostic(`the upper gateway said:\n${upper.said()}`);
    throw error;
  } finally {
    await upper.kill();
    operator.end(true);
    await watcher.end();
    await mosquitto.end();
  }
}

/** What came out above of one of the lower gateway's children, each once, in the order in which it was first seen. */
function ofChild(watcher: Watcher, child: string): Arrival[] {
  const seen = new Set<string>();
  return watcher.firstSights().filter(({ child: device, properties }) => {
    if (device !== DEVICE || properties['holdfast-child'] !== child) return false;
    const place = ['epoch', 'lane', 'seq'].map((name) => properties[`holdfast-${name}`]).join(' ');
    return !seen.has(place) && seen.add(place);
  });
}

function isLoss({ properties }: Arrival): boolean {
  return properties['holdfast-type'] === 'loss';
}

interface Loss {
  readonly reason: string;
  readonly epoch: number;
  readonly lane: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly count: number;
}

function lossesIn(watcher: Watcher): Loss[] {
  return watcher.firstSights().flatMap((event) => (isLoss(event) ? [JSON.parse(event.body.toString()) as Loss] : []));
}

/** Numbers of the lower gateway, in each epoch and lane: none comes after a later one, and what is missing has been reported. */
function assertInOrder(watcher: Watcher): void {
  const last = new Map<string, number>();
  const losses = lossesIn(watcher);
  const ours = new Set([...ofChild(watcher, 'press-1'), ...ofChild(watcher, 'pump')]);
  for (const { properties } of watcher.firstSights().filter((event) => ours.has(event))) {
    const [epoch, lane, seq] = ['epoch', 'lane', 'seq'].map((name) => Number(properties[`holdfast-${name}`]));
    const before = last.get(`${epoch} ${lane}`) ?? seq! - 1;
    assert.ok(seq! > before, `${seq} comes after ${before}`);
    for (let missing = before + 1; missing < seq!; missing++) {
      const reported = losses.some(
        (row) => row.epoch === epoch && row.lane === lane && row.firstSeq <= missing && missing <= row.lastSeq,
      );
      assert.ok(reported, `${missing} is missing, and in none of ${JSON.stringify(losses)}`);
    }
    last.set(`${epoch} ${lane}`, seq!);
  }
  assert.ok(last.size > 0, 'something came');
}

interface SettingsReport {
  readonly version?: number;
  readonly applied?: readonly string[];
}

/** The settings that the lower gateway says are in force, as the upper one passes them on. */
class ReportedSettings {
  #last: SettingsReport = {};

  static async seen(operator: MqttClient): Promise<ReportedSettings> {
    const seen = new ReportedSettings();
    operator.on('message', (_, body) => {
      const { settings } = JSON.parse(body.toString()) as { settings?: SettingsReport };
      seen.#last = settings ?? {};
    });
    await operator.subscribeAsync(`${OPERATOR_ROOT}/twin/reported`, { qos: 1 });
    return seen;
  }

  are(version: number, applied: readonly string[]): Promise<boolean> {
    return until(
      () => `settings of version ${version}; they are ${JSON.stringify(this.#last)}`,
      () => this.#last.version === version && this.#last.applied?.toSorted().join() === applied.join(),
    );
  }
}

describe('a gateway that is a device of an IoT Hub', { concurrency: 2 }, () => {
  test(
    'over mqtts with a key: all that goes up and comes down, with either gateway killed in between',
    { skip },
    (t) => {
      const key = newKey();
      return scene(t, ['--sas', '--primary-key', newKey(), '--secondary-key', key], async (at) => {
        const { upper, watcher, operator, ca } = at;
        const settings = await ReportedSettings.seen(operator);
        const keyFile = join(scratch(), 'device-key');
        writeFileSync(keyFile, newKey());
        const lower = await LowerGateway.made([
          `url: "mqtts://${upper.address}:8883"`,
          `ca: ${ca}`,
          `sharedAccessKeyFile: ${keyFile}`,
        ]);
        let sent = 0;
        let talking: MqttClient | null = null;
        try {
          await lower.addPump();
          await lower.start();

          // A wrong key is refused: said once, tried on and on; the right one counts from the next attempt.
          type Status = { upstream: { attempts: number; state: string } };
          await until(
            'some attempts',
            async () => (await asked<Status>(lower.process.config, 'status')).upstream.attempts > 4,
          );
          await lower.process.waitForLog(/cannot connect/);
          const refusals = lower.process.messages().filter((line) => line.startsWith('cannot connect'));
          assert.equal(refusals.length, 1, refusals.join('\n'));
          assert.match(refusals[0]!, /[Nn]ot authori[sz]ed|password/);
          writeFileSync(keyFile, `${key}\n`);
          await lower.process.waitForLog(/connected to mqtts/);

          const pump = await lower.pump();
          talking = pump.client;
          const send = async (count: number) => {
            for (const end = sent + count; sent < end; sent++)
              await pump.client.publishAsync(`holdfast/v1/${LOWER}/pump/events`, JSON.stringify({ n: sent }), {
                qos: 1,
                properties: {
                  contentType: 'application/json',
                  userProperties: { 'p-größe/1': 'a & b', 'p-holdfast-child': 'forged', 'p-Holdfast-Module': 'forged' },
                },
              });
          };
          await send(20);

          // One that the hub closes the connection for does not stop the others.
          const large = { userProperties: { 'p-large': 'x'.repeat(20_000) } };
          await pump.client.publishAsync(`holdfast/v1/${LOWER}/pump/events`, 'large', { qos: 1, properties: large });
          await send(20);
          await lower.process.waitForLog(/closed on this message alone/);

          // Settings by twin; a version that does not follow on the last one has the lower gateway ask for the whole.
          await upper.command(['twin', 'set', DEVICE, '--desired', '{"storeAndForward":{"timeToLiveSecs":86400}}']);
          await settings.are(2, ['storeAndForward.timeToLiveSecs']);
          const { reported } = await upper.command<{ reported: { settings?: SettingsReport } }>([
            'twin',
            'get',
            DEVICE,
          ]);
          assert.equal(reported.settings?.version, 2);
          const far = { $version: 50, storeAndForward: { timeToLiveSecs: 3600 }, logLevel: 'info' };
          await operator.publishAsync(`${OPERATOR_ROOT}/twin/desired`, JSON.stringify(far), { qos: 1, retain: true });
          await settings.are(50, ['logLevel', 'storeAndForward.timeToLiveSecs']);

          // Methods of the gateway and, through it, of its children.
          assert.equal((await upper.invoke(DEVICE, 'ping', null)).status, 200);
          assert.equal((await upper.invoke(DEVICE, 'invoke', { child: 'press-1', method: 'reset' })).status, 200);
          assert.equal((await upper.invoke(DEVICE, 'invoke', { child: 'nobody', method: 'reset' })).status, 404);

          const tell = (body: string) =>
            operator.publishAsync(`${OPERATOR_ROOT}/commands`, body, {
              qos: 1,
              properties: { userProperties: { 'p-holdfast-child': 'pump', 'p-depth': '3' } },
            });
          await tell('first');
          await until('the command', () => pump.heard.length === 1);
          assert.deepEqual(pump.heard, [{ body: 'first', properties: { 'p-depth': '3' } }]);

          // Killed; what is decided meanwhile counts when it is back.
          await lower.kill();
          await upper.command(['twin', 'set', DEVICE, '--desired', '{"logLevel":null}']);
          await tell('second');
          await lower.start();
          await settings.are(51, ['storeAndForward.timeToLiveSecs']);
          await until('the command that it missed', () => pump.heard.some(({ body }) => body === 'second'));
          await send(20);

          // The other one killed; what is said meanwhile waits.
          await upper.kill();
          await send(20);
          await upper.start();
          await send(20);
          await watcher.until(
            () => `${sent} messages; ${ofChild(watcher, 'pump').length} are there`,
            () => ofChild(watcher, 'pump').length >= sent,
          );
          const events = ofChild(watcher, 'pump');
          assert.deepEqual(
            events.map(({ body }) => (JSON.parse(body.toString()) as { n: number }).n),
            Array.from({ length: sent }, (_, n) => n),
          );
          for (const { contentType, properties } of events) {
            const own = Object.entries(properties).filter(
              ([name]) => !/^(?:holdfast-|messageId$|creationTime$)/.test(name),
            );
            assert.deepEqual(Object.fromEntries(own), {
              'größe/1': 'a & b',
              'p-holdfast-child': 'forged',
              'p-Holdfast-Module': 'forged',
            });
            assert.equal(contentType, 'application/json');
            assert.equal(properties['holdfast-module'], undefined);
            assert.equal(properties['holdfast-id'], properties['messageId']);
            assert.match(properties['holdfast-at'] ?? '', /^\d{4}-.*Z$/);
          }
          assertInOrder(watcher);
          assert.deepEqual(
            lossesIn(watcher).map(({ reason, count }) => [reason, count]),
            [['dead-letter', 1]],
          );
        } catch (error) {
          t.diagnostic(`the lower gateway said:\n${lower.process.log.slice(-40).join('\n')}`);
          throw error;
        } finally {
          talking?.end(true);
          await lower.kill();
        }
      });
    },
  );

  test('over wss with a certificate that is known by its thumbprint', { skip }, (t) => {
    const { cert, key, thumbprint } = new CertificateMaker(scratch()).selfSigned({ subject: `/CN=${DEVICE}` });
    return scene(t, ['--x509-thumbprint', thumbprint], async ({ upper, watcher, operator, ca }) => {
      const settings = await ReportedSettings.seen(operator);
      const lower = await LowerGateway.made([
        `url: "wss://${upper.address}"`,
        `ca: ${ca}`,
        `clientCert: ${cert}`,
        `clientKey: ${key}`,
      ]);
      try {
        await lower.start();
        await watcher.until('ten messages', () => ofChild(watcher, 'press-1').length >= 10);
        assertInOrder(watcher);
        await upper.command(['twin', 'set', DEVICE, '--desired', '{"storeAndForward":{"timeToLiveSecs":1}}']);
        await settings.are(2, ['storeAndForward.timeToLiveSecs']);
        assert.equal((await upper.invoke(DEVICE, 'ping', null)).status, 200);

        // What was too old when the upper one came back is reported before what came after it.
        await upper.kill();
        await until('some to expire', async () => {
          const { ledger } = await asked<SpoolStats>(lower.process.config, 'spool stats');
          return (ledger.dropped.expired ?? 0) > 5;
        });
        // What it had kept by then goes on first. Some of that may be in the report: of what was not acknowledged before it
        // died, nobody below knows that it arrived.
        const { lanes } = await upper.command<SpoolStats>(['spool', 'stats']);
        const isNew = ({ lane, seq }: Arrival) => seq >= (lanes.find((kept) => kept.lane === lane)?.nextSeq ?? 1);
        await upper.start();
        const index = await watcher.until('the report', () => {
          const found = watcher.firstSights().findIndex(isLoss);
          return found >= 0 && watcher.firstSights().length > found + 1 ? { found } : null;
        });
        const all = watcher.firstSights();
        const { contentType, properties, body } = all[index.found]!;
        assert.equal(contentType, 'application/json');
        assert.equal(properties['holdfast-child'], undefined);
        const loss = JSON.parse(body.toString()) as Loss;
        assert.equal(loss.reason, 'expired');
        const seqs = (events: readonly Arrival[]) =>
          events.flatMap((event) => (isLoss(event) ? [] : Number(event.properties['holdfast-seq'])));
        const before = seqs(all.slice(0, index.found).filter(isNew));
        assert.ok(
          Math.max(...before) < loss.firstSeq,
          `${before.join(' ')} came before the report: ${body.toString()}`,
        );
        const behind = seqs(all.slice(index.found));
        assert.ok(
          Math.min(...behind) > loss.firstSeq,
          `${behind.join(' ')} came behind the report: ${body.toString()}`,
        );
      } catch (error) {
        t.diagnostic(`the lower gateway said:\n${lower.process.log.slice(-40).join('\n')}`);
        throw error;
      } finally {
        await lower.kill();
      }
    });
  });

  test('its token is renewed by connecting anew: each message once, in order', { skip }, (t) => {
    const key = newKey();
    return scene(t, ['--sas', '--primary-key', key], async ({ upper, watcher }) => {
      const time = { known: true, now: () => Date.now() };
      const passwords = new Set<string>();
      const rig = await UpstreamRig.open(`mqtts://${upper.address}:8883`, {
        dialect: iothubUpstream(LOWER, DEVICE),
        clientId: DEVICE,
        credentials: () => {
          const { username, password } = deviceCredentials(IOT_HUB, DEVICE, key, 'test', time);
          passwords.add(password!);
          return { username, password: password!, renewInMs: 300, tls: { ca: upper.ca } };
        },
      });
      const renewals = () => rig.log.filter(({ msg }) => msg.includes('run out')).length;
      try {
        rig.upstream.start();
        let sent = 0;
        while (renewals() < 4) {
          await rig.fill(10, sent + 1);
          sent += 10;
        }
        await rig.drained();
        const bodies = () =>
          watcher
            .firstSights()
            .filter(({ child }) => child === DEVICE)
            .map(({ body }) => Number(body.toString()));
        await watcher.until(
          () => `${sent} messages; ${bodies().length} are there`,
          () => bodies().length >= sent,
        );
        assert.deepEqual(
          bodies(),
          Array.from({ length: sent }, (_, n) => n + 1),
        );
        assert.ok(passwords.size > 1, 'another token each time');
        assert.deepEqual(rig.complaints(), []);
      } finally {
        await rig.end();
      }
    });
  });
});
