import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import mqtt, { type MqttClient } from 'mqtt';
import { configured, type Configured } from '../src/cli/configured.ts';
import { askOne } from '../src/cli/control-client.ts';
import { askTwin } from '../src/cli/twin-desk.ts';
import { hashPassword } from '../src/registry/password.ts';
import type { SpoolStats } from '../src/spool/stats.ts';
import type { TwinView } from '../src/twins/twins.ts';
import { chance } from './parts/chance.ts';
import { holdfast } from './parts/command.ts';
import { freePort } from './parts/free-port.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { openSockets } from './parts/open-files.ts';
import { Operator, ROOT } from './parts/operator.ts';
import { openRoad, type RoughRoad } from './parts/rough-road.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';
import { startWatcher, type Watcher } from './parts/watcher.ts';

/*
 * One gateway, one broker, and a network with every trouble between them, while children go on measuring, twins change on both
 * sides and commands are sent. After each trouble everything must be as if there had been none, but for repeats.
 */
const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const SEED = 20_261_126;
const WINDOW = 128;
/** What a crash may make us send twice besides the window (DESIGN, Delivery). */
const UNMARKED_MAX = 1000;
/** Between two readings of a child, ms. With the delays below the window carries more than the four say. */
const EVERY_MS = LONG ? 100 : 40;
/** A dead line is noticed after one and a half of them; an answer may take half of one. */
const KEEPALIVE_SECS = LONG ? 8 : 1;
/** In the short run all times are shorter, those of the line a tenth: what is slow must not look dead. */
const SLOW = LONG
  ? { delayMs: 600, jitterMs: 200, lossPart: 0.02, stallMs: [200, 1200] as const }
  : { delayMs: 60, jitterMs: 20, lossPart: 0.02, stallMs: [20, 120] as const };
/** Times that twins are changed and commands sent in each outage. */
const CHANGES = 3;
/** Longest until all is well again after a trouble, ms. */
const WELL_MS_MAX = LONG ? 120_000 : 20_000;
const TWINS = ['line-4', 's-0', 's-1', 'pump', 'fan'];

interface Trouble {
  readonly name: string;
  readonly ms: number;
  /** Begins it; what is returned goes on until the trouble is over. */
  readonly begin: (road: RoughRoad, ms: number) => Promise<void> | void;
  /** The connection lives through it. */
  readonly endures?: boolean;
  /** The gateway's process is killed in the middle of it. */
  readonly kills?: boolean;
}

function off(secs: number, shortMs: number, times: number): Trouble[] {
  const ms = LONG ? secs * 1000 : shortMs;
  return Array.from({ length: times }, (_, n) => ({
    name: `off for ${ms / 1000} s${times === 1 ? '' : `, ${n + 1} of ${times}`}`,
    ms,
    begin: (road) => road.cut(),
  }));
}

/** From when it was noticed, which takes a keepalive and a half. */
const SILENT_MS = LONG ? 30_000 : 900;
const TROUBLES: readonly Trouble[] = [
  ...off(5, 200, 5),
  ...off(15, 500, 3),
  ...off(120, 1500, 1),
  {
    name: 'flapping',
    ms: LONG ? 60_000 : 2000,
    begin: async (road, ms) => {
      const half = LONG ? 1000 : 250;
      for (let gone = 0; gone < ms; gone += 2 * half) {
        await road.cut();
        await sleep(half);
        await road.heal();
        await sleep(half);
      }
    },
  },
  { name: 'a black hole', ms: SILENT_MS, begin: (road) => road.blackHole() },
  { name: 'half-open: nothing goes up', ms: SILENT_MS, begin: (road) => road.halfOpen('up') },
  { name: 'half-open: nothing comes down', ms: SILENT_MS, begin: (road) => road.halfOpen('down') },
  {
    name: `${SLOW.delayMs} ms with 2 % loss`,
    ms: LONG ? 60_000 : 2000,
    begin: (road) => road.slow(SLOW),
    endures: true,
  },
  { name: 'off, and the gateway killed meanwhile', ms: LONG ? 10_000 : 600, begin: (road) => road.cut(), kills: true },
];

/** A child with a connection of its own: says something every {@link EVERY_MS}, and keeps what was acknowledged. */
class Child {
  readonly id: string;
  readonly acknowledged: string[] = [];
  readonly commands: string[] = [];
  /** The last desired document that it was told. */
  desired: unknown = null;
  readonly #client: MqttClient;
  readonly #timer: NodeJS.Timeout;
  #said = 0;

  private constructor(id: string, client: MqttClient) {
    this.id = id;
    this.#client = client;
    this.#timer = setInterval(() => this.#say(), EVERY_MS);
  }

  static async of(id: string, port: number): Promise<Child> {
    const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      clientId: id,
      username: id,
      password: 'secret',
      protocolVersion: 5,
      reconnectPeriod: 50,
      clean: false,
      properties: { sessionExpiryInterval: 3600 },
    });
    client.on('error', () => undefined);
    await new Promise<void>((resolve) => {
      client.once('connect', () => resolve());
    });
    const child = new Child(id, client);
    client.on('message', (topic, body) => {
      if (topic.endsWith('/twin/desired')) child.desired = JSON.parse(body.toString());
      if (topic.endsWith('/commands')) child.commands.push(body.toString());
    });
    await client.subscribeAsync(`${ROOT}/${id}/#`, { qos: 1 });
    return child;
  }

  /** Resolves when the gateway has taken it. */
  async report(patch: object): Promise<void> {
    await this.#client.publishAsync(`${ROOT}/${this.id}/twin/reported`, JSON.stringify(patch), { qos: 1 });
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#client.endAsync(true);
  }

  #say(): void {
    const body = `${this.id} ${++this.#said}`;
    this.#client.publish(`${ROOT}/${this.id}/events`, body, { qos: 1 }, (error) => {
      if (!error) this.acknowledged.push(body);
    });
  }
}

function sameProperties(one: object, other: object | null): boolean {
  return isDeepStrictEqual({ ...one, $version: 0 }, { ...other, $version: 0 });
}

describe(`the outage matrix (seed ${SEED})`, () => {
  const dir = scratch();
  const random = chance(SEED);
  const versions = new Map<string, number>();
  const commands: string[] = [];
  let mosquitto: Mosquitto;
  let road: RoughRoad;
  let watcher: Watcher;
  let operator: Operator;
  let gateway: GatewayProcess;
  let where: Configured;
  let children: Child[];
  let yaml: string;
  let sockets: number;
  let changes = 0;

  before(async () => {
    // So that the window is ours: else it takes 20 at once.
    mosquitto = await startMosquitto({ persistence: true, config: ['max_inflight_messages 0'] });
    road = await openRoad(mosquitto.port, random);
    watcher = await startWatcher({ url: mosquitto.url });
    operator = await Operator.of(mosquitto.url);
    const port = await freePort();
    yaml = `
gateway: { id: line-4, profile: simulated, dataDir: ${dir}/data }
upstream:
  url: ${road.url}
  window: ${WINDOW}
  keepaliveSecs: ${KEEPALIVE_SECS}
  reconnect: { minSecs: 0.05, maxSecs: ${LONG ? 2 : 0.2} }
hub: { hostName: localhost, listen: { mqtt: "127.0.0.1:${port}" } }
children:
  - { id: s-0, simulated: { sendIntervalMs: ${EVERY_MS}, messageCount: -1 } }
  - { id: s-1, simulated: { sendIntervalMs: ${EVERY_MS}, messageCount: -1 } }
`;
    gateway = await startGateway({ dir, yaml });
    where = configured(gateway.config);
    await until('its key', () => operator.json('key') !== null);
    const password = await hashPassword(Buffer.from('secret'));
    await operator.document(
      1,
      ['pump', 'fan'].map((id) => ({ id, status: 'enabled', auth: { password } })),
    );
    await until('the report', () => operator.reported('registry')?.['children'] === 2);
    children = await Promise.all(['pump', 'fan'].map((id) => Child.of(id, port)));
    sockets = openSockets(gateway.process.pid);
  });

  after(async () => {
    for (const child of children) await child.end();
    await gateway.kill();
    await watcher.end();
    operator.client.end(true);
    await road.cut();
    await mosquitto.end();
  });

  /** By the command that users have. */
  async function stats(): Promise<SpoolStats['ledger']> {
    const { stdout, stderr } = await holdfast(['spool', 'stats', '--json', '--config', gateway.config]);
    assert.notEqual(stdout, '', stderr);
    return (JSON.parse(stdout) as SpoolStats).ledger;
  }

  /** The same, without the program. */
  const ledgerNow = async () => (await askOne<SpoolStats>(where, 'spool stats')).ledger;

  function even({ accepted, delivered, pending, deadLetters, dropped }: SpoolStats['ledger']): void {
    assert.deepEqual([deadLetters, dropped], [0, {}]);
    assert.equal(accepted, delivered + pending);
  }

  const online = async () =>
    (await askOne<{ upstream: { state: string } }>(where, 'status')).upstream.state === 'online';

  const twin = (child: string) => askTwin<TwinView>(where, 'twin get', { child });

  /** Something changes above and below, and something is ordered; `first`: for the first time in this outage. */
  async function change(first: boolean): Promise<void> {
    const n = ++changes;
    // What is set here meanwhile gives way to what comes from above next.
    await askTwin(where, 'twin set', { child: 'fan', desired: { speed: -n, here: n } });
    for (const id of TWINS) {
      const version = (versions.get(id) ?? 0) + 1;
      versions.set(id, version);
      // What was wanted before is not wanted any more: documents replace.
      const wanted =
        id === 'line-4' ? { storeAndForward: { timeToLiveSecs: 7200 + n } } : { speed: n, [`only-${n}`]: true };
      await operator.retain(`${id}/twin/desired`, { $version: version, ...wanted });
    }
    for (const child of children) {
      // One of them reports once: what was on its way when the line broke is not made good by a later report.
      if (first || child.id === 'pump') await child.report({ n, [`had-${n}`]: n, [`had-${n - CHANGES}`]: null });
      const order = `${child.id}: order ${n}`;
      commands.push(order);
      await operator.client.publishAsync(`${ROOT}/${child.id}/commands`, order, { qos: 1 });
    }
  }

  /** What is not as it should be yet; null when both sides are equal. */
  async function unequal(): Promise<string | null> {
    for (const id of TWINS) {
      const { desired, reported } = await twin(id);
      const wanted = operator.json(`${id}/twin/desired`);
      const said = operator.json(`${id}/twin/reported`);
      const child = children.find((each) => each.id === id);
      // Where something was set here, versions are ahead here.
      const same = id === 'fan' ? sameProperties : isDeepStrictEqual;
      if (!same(desired, wanted)) return `${id} shall be ${JSON.stringify(wanted)}, here ${JSON.stringify(desired)}`;
      if (child !== undefined && !isDeepStrictEqual(child.desired, desired))
        return `${id} was told ${JSON.stringify(child.desired)} instead of ${JSON.stringify(desired)}`;
      // Nobody reports for a wired child.
      if (!id.startsWith('s-') && !isDeepStrictEqual(reported, said))
        return `${id} is ${JSON.stringify(reported)}, above ${JSON.stringify(said)}`;
    }
    return null;
  }

  async function goThrough(trouble: Trouble, context: TestContext): Promise<void> {
    const repeatsBefore = watcher.repeats();
    const orders = commands.length;
    const made = road.connections;

    const going = trouble.begin(road, trouble.ms);
    for (let n = 0; n < CHANGES; n++) {
      await change(n === 0);
      even(await ledgerNow());
      if (n === 0 && trouble.endures !== true)
        await until('it to be noticed', async () => !(await online()), WELL_MS_MAX);
      if (n === 1 && trouble.kills === true) {
        await gateway.kill();
        gateway = await startGateway({ dir, yaml });
      }
      await sleep(trouble.ms / CHANGES);
    }
    await going;
    const { accepted } = await ledgerNow();
    await road.heal();
    const healed = performance.now();

    const arrived = () => watcher.events.length >= accepted && watcher.firstSights().length >= accepted;
    await until(() => `${accepted} to arrive; ${watcher.firstSights().length} have`, arrived, WELL_MS_MAX);
    const drained = performance.now() - healed;
    let why: string | null = null;
    await until(
      () => `equal twins: ${why}`,
      async () => (why = await unequal()) === null,
      WELL_MS_MAX,
    );
    const heard = () => new Set(children.flatMap((child) => child.commands));
    await until(
      () => `commands: ${commands.filter((order) => !heard().has(order)).join(', ')}`,
      () => commands.every((order) => heard().has(order)),
      WELL_MS_MAX,
    );
    const well = performance.now() - healed;
    const taken = children.flatMap(({ acknowledged }) => acknowledged);
    const missing = () => {
      const seen = new Set(watcher.events.map(({ body }) => body.toString()));
      return taken.filter((body) => !seen.has(body));
    };
    await until(
      () => `what was acknowledged: ${missing().slice(0, 5).join(', ')} and so on`,
      () => missing().length === 0,
    );
    const ledger = await stats();
    even(ledger);
    const open = () => openSockets(gateway.process.pid);
    await until(
      () => `${sockets} sockets; there are ${open()}`,
      () => open() <= sockets,
    );

    assert.deepEqual(watcher.gaps(), []);
    assert.equal(watcher.outOfOrder().length, 0, 'first sights out of order');
    assert.equal(watcher.contradictions().length, 0, 'a number was used twice');
    assert.deepEqual(watcher.losses, []);
    for (const child of children) {
      const own = commands.filter((order) => order.startsWith(`${child.id}:`));
      assert.deepEqual([...new Set(child.commands)], own, 'commands in their order');
    }
    // One connection was there before, one is there now.
    const lost = road.connections - made;
    const repeats = watcher.repeats() - repeatsBefore;
    const repeatsMax = lost * WINDOW + (trouble.kills === true ? WINDOW + UNMARKED_MAX : 0);
    assert.ok(repeats <= repeatsMax, `${repeats} came twice, over ${lost} connections`);
    const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.process.pid}/status`, 'utf8'))![1];
    const orderRepeats = children.flatMap((each) => each.commands).length - commands.length;
    context.diagnostic(
      `${accepted} accepted, drained after ${Math.round(drained)} ms, all well after ${Math.round(well)} ms; ` +
        `${lost} connections made, ${repeats} repeats; ${commands.length - orders} commands, ${orderRepeats} repeats so far; ` +
        `RSS ${Math.round(Number(rss) / 1024)} MiB`,
    );
  }

  for (const trouble of TROUBLES) test(trouble.name, (context) => goThrough(trouble, context));

  test('in the end all that was delivered has been seen', async () => {
    await Promise.all(children.map((child) => child.end()));
    assert.equal(await gateway.stop(), 0);
    const ledger = await stats();
    even(ledger);
    await until('the last of them', () => watcher.firstSights().length >= ledger.delivered);
    assert.ok(watcher.firstSights().length <= ledger.delivered + WINDOW, 'more was seen than was sent');
  });
});
