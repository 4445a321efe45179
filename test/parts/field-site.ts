import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import mqtt, { type MqttClient } from 'mqtt';
import { configured, type Configured } from '../../src/cli/configured.ts';
import { askOne } from '../../src/cli/control-client.ts';
import type { Status } from '../../src/health/status.ts';
import { sealDocument } from '../../src/registry/document.ts';
import type { PublicJwk } from '../../src/registry/jwk.ts';
import { hashPassword } from '../../src/registry/password.ts';
import { chance } from './chance.ts';
import { FieldAccount } from './field-account.ts';
import { bytesOnDisk, processFigures, type Live, type Sample } from './field-samples.ts';
import { EVERY_MS, FieldChild, LineSensor } from './field-sensors.ts';
import { freePort } from './free-port.ts';
import { GatewayProcess } from './gateway-process.ts';
import { startMosquitto, type Mosquitto } from './mosquitto.ts';
import { ROOT } from './operator.ts';
import { openRoad, type RoughRoad } from './rough-road.ts';
import { scratch } from './scratch.ts';
import { until } from './until.ts';

const SIMULATED = 8;
const CONNECTED = 8;
/** Of the children that connect, so many send a snapshot of a vibration, this many random bytes of it. */
const SNAPSHOTS = 4;
const SNAPSHOT_BYTES = 768;
export const QUOTA_BYTES: number = 8 * 2 ** 20;
/** systemd's RestartSec in our unit, ms. */
const RESTART_MS = 5000;
/** Longest that anything here takes, ms of the site's clock: some 30 s of the world's. */
const WAIT_MS_MAX = 1_800_000;
/** Open files are counted so often, so far apart, ms; the least counts. */
const LOOKS = 5;
const LOOK_EVERY_MS = 4000;
/** Times that the gateway is asked for its status before that is a failure. */
const TRIES_MAX = 5;
const HOUR_MS = 3_600_000;

/**
 * Run in the gateway's process beside it (NODE_OPTIONS): at SIGUSR2 it collects garbage and says what is left. Without spaces,
 * which would part options.
 */
function heapProbe(file: string): string {
  const program = `
import { renameSync, writeFileSync } from 'node:fs';
import { getHeapCodeStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
process.on('SIGUSR2', () => {
  // The second time for what the first one only found.
  collect();
  setImmediate(() => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    const { code_and_metadata_size, bytecode_and_metadata_size } = getHeapCodeStatistics();
    const codeBytes = code_and_metadata_size + bytecode_and_metadata_size;
    const live = { heapBytes: heapUsed, codeBytes, externalBytes: external };
    writeFileSync(${JSON.stringify(`${file}.new`)}, JSON.stringify(live));
    renameSync(${JSON.stringify(`${file}.new`)}, ${JSON.stringify(file)});
  });
});`;
  return `--import=data:text/javascript;base64,${Buffer.from(program).toString('base64')}`;
}

const reading = (n: number) => ({
  n,
  machine: { temperature: 28 + 6 * Math.sin(n / 120), pressure: 1 + (n % 97) / 97 },
  ambient: { temperature: 21, humidity: 24 + (n % 7) },
  timeCreated: new Date().toISOString(),
});

function recommended(): string {
  const now = new Date().toISOString();
  const time = now.slice(11, 19).replaceAll(':', '');
  const date = `${now.slice(8, 10)}${now.slice(5, 7)}${now.slice(2, 4)}`;
  const text = `GPRMC,${time},A,4807.038,N,01131.000,E,022.4,084.4,${date},003.1,W`;
  const sum = [...Buffer.from(text)].reduce((so, byte) => so ^ byte, 0);
  return `$${text}*${sum.toString(16).toUpperCase().padStart(2, '0')}\r\n`;
}

/** What the configuration says differently from time to time. */
export interface Changeable {
  readonly timeToLiveSecs?: number;
  readonly messagesPerSec?: number;
}

/** A shed with a gateway: its sensors and children, the line out, the broker at its end, and who keeps the account there. */
export class FieldSite {
  readonly dir: string = scratch();
  readonly dataDir: string;
  readonly random = chance(20_261_126);
  readonly samples: Sample[] = [];
  readonly lines: Readonly<Record<'meter' | 'weather' | 'gps' | 'oven', LineSensor>> = {
    meter: new LineSensor('meter', (n) => `${JSON.stringify(reading(n))}\n`),
    weather: new LineSensor('weather', (n) => `${n};${(20 + Math.sin(n)).toFixed(2)};${50 + (n % 11)};1013.2\r\n`),
    gps: new LineSensor('gps', recommended),
    oven: new LineSensor('oven', (n) => `${n},${(180 + 5 * Math.cos(n)).toFixed(1)}\n`),
  };
  readonly children: FieldChild[] = [];
  readonly orders: string[] = [];
  /** Methods that were called from above, were answered, and did it: a serial line's two seconds may be over too soon here. */
  readonly methods = { called: 0, answered: 0, done: 0 };
  readonly logged: string[] = [];
  /** Kills of the gateway's process. */
  kills = 0;
  life = 0;
  /** Something is being done to the gateway. */
  busy = false;
  mosquitto!: Mosquitto;
  road!: RoughRoad;
  account!: FieldAccount;
  operator!: MqttClient;
  hubPort = 0;
  gateway: GatewayProcess | null = null;
  readonly #began = performance.now();
  readonly #heard = new Map<string, string>();
  readonly #heap = join(this.dir, 'heap');
  #logBytes = 0;
  #logLines = 0;
  #wanted = 0;
  #where: Configured | null = null;

  /** Hours since it was opened. */
  get hour(): number {
    return (performance.now() - this.#began) / HOUR_MS;
  }

  /** `medium`: the folder of the filesystem that everything durable shall lie on; left out: a folder like any other. */
  constructor(medium: string | undefined) {
    this.dataDir = join(medium ?? this.dir, 'data');
  }

  async open(): Promise<void> {
    this.mosquitto = await startMosquitto({
      persistence: true,
      config: ['max_inflight_messages 0', 'autosave_interval 300'],
    });
    this.road = await openRoad(this.mosquitto.port, this.random);
    this.account = new FieldAccount(this.mosquitto.url, 'line-4');
    await this.account.whenSubscribed(1);
    this.operator = mqtt.connect(this.mosquitto.url, { clientId: 'operator', reconnectPeriod: 2000 });
    this.operator.on('error', () => undefined);
    this.operator.on('message', (topic, body) => {
      this.#heard.set(topic, body.toString());
      if (topic.includes('/res/')) {
        this.methods.answered++;
        if ((JSON.parse(body.toString()) as { status: number }).status === 200) this.methods.done++;
      }
    });
    this.operator.subscribe([`${ROOT}/key`, `${ROOT}/+/twin/reported`, `${ROOT}/+/methods/+/res/+`], { qos: 1 });
    this.hubPort = await freePort();
    for (const line of Object.values(this.lines)) {
      await line.plugIn();
      await sleep(EVERY_MS / 12);
    }
    await this.start();
    const password = await hashPassword(Buffer.from('secret'));
    const ids = Array.from({ length: CONNECTED }, (_, n) => `c-${n}`);
    const key = await until('its key', () => this.#heard.get(`${ROOT}/key`), WAIT_MS_MAX);
    const document = {
      version: 1,
      issuedAt: new Date().toISOString(),
      children: ids.map((id) => ({ id, status: 'enabled' as const, auth: { password } })),
    };
    const sealed = await sealDocument(document, [JSON.parse(key) as PublicJwk]);
    await this.operator.publishAsync(`${ROOT}/children`, sealed, { qos: 1, retain: true });
    const reported = () => this.#heard.get(`${ROOT}/line-4/twin/reported`) ?? '{}';
    await until(
      'the report of the children',
      () => (JSON.parse(reported()) as { registry?: { children?: number } }).registry?.children === CONNECTED,
      WAIT_MS_MAX,
    );
    for (const [n, id] of ids.entries()) {
      const snapshot = () => Buffer.from(Array.from({ length: SNAPSHOT_BYTES }, () => this.random() * 256));
      const body = (number: number) =>
        JSON.stringify({ ...reading(number), ...(n < SNAPSHOTS ? { vibration: snapshot().toString('base64') } : {}) });
      this.children.push(new FieldChild(id, this.hubPort, body));
      await sleep(EVERY_MS / 12);
    }
    await this.whole();
  }

  /** A new process of the gateway, as it is configured now; resolves when it runs. */
  async start(yaml: string = this.yaml()): Promise<void> {
    this.life++;
    this.#logLines = 0;
    const gateway = new GatewayProcess({ dir: this.dir, yaml, env: { NODE_OPTIONS: heapProbe(this.#heap) } });
    this.#where ??= configured(gateway.config);
    await gateway.waitForLog(/"time":\d+,"msg":"running"/, 0, WAIT_MS_MAX);
    this.gateway = gateway;
  }

  /** The process is killed and, as systemd does, started again. */
  async kill(): Promise<void> {
    const gateway = this.gateway!;
    this.gateway = null;
    gateway.process.kill('SIGKILL');
    await gateway.whenEnded(WAIT_MS_MAX);
    this.#readLog(gateway);
    this.kills++;
    await sleep(RESTART_MS);
    await this.start();
  }

  /** It is asked to stop. With what exit code is all the same: the five seconds that it gives itself are a moment here. */
  async stop(): Promise<void> {
    const gateway = this.gateway!;
    this.gateway = null;
    gateway.process.kill('SIGTERM');
    await gateway.whenEnded(WAIT_MS_MAX);
    this.#readLog(gateway);
  }

  /** Resolves when the line is up and all children are there. */
  async whole(): Promise<void> {
    await until(
      'the line and all children',
      async () => {
        if (!this.children.every(({ connected }) => connected)) return false;
        const { upstream, children } = await this.status();
        return upstream?.state === 'online' && children.running === children.total;
      },
      WAIT_MS_MAX,
    );
  }

  /** Asked again while the gateway is there: ten seconds here, its limit, are soon over on a busy machine. */
  async status(): Promise<Status> {
    const { gateway } = this;
    for (let tries = 1; ; tries++) {
      try {
        return await askOne<Status>(this.#where!, 'status', {}, { silenceMsMax: WAIT_MS_MAX });
      } catch (error) {
        if (gateway === null || gateway !== this.gateway || tries === TRIES_MAX) throw error;
      }
    }
  }

  /** Another configuration, told by SIGHUP; resolves with what the gateway said of it. */
  async reload(yaml: string, said: RegExp): Promise<string> {
    const gateway = this.gateway!;
    const from = gateway.log.length;
    writeFileSync(gateway.config, yaml);
    gateway.process.kill('SIGHUP');
    return gateway.waitForLog(said, from, WAIT_MS_MAX);
  }

  /** Something is wanted of each child, of one by a desired property; and, when there is a line, of the gateway by a method. */
  async order(): Promise<void> {
    const n = ++this.#wanted;
    for (const { id } of this.children) {
      const order = `${id}: order ${n}`;
      this.orders.push(order);
      await this.operator.publishAsync(`${ROOT}/${id}/commands`, order, { qos: 1 });
    }
    await this.operator.publishAsync(`${ROOT}/c-0/twin/desired`, JSON.stringify({ $version: n, speed: n }), {
      qos: 1,
      retain: true,
    });
    const online = async () => (await this.status()).upstream?.state === 'online';
    // A gateway that was just killed answers nothing.
    if (this.gateway === null || !(await online().catch(() => false))) return;
    this.methods.called++;
    const request = JSON.stringify({ payload: { line: `order ${n}` }, responseTimeoutSecs: 300 });
    await this.operator.publishAsync(`${ROOT}/meter/methods/write/req/${n}`, request, { qos: 0 });
  }

  /** Commands that nobody has heard yet, and the desired property when it is not the last. */
  missingOrders(): string[] {
    const missing = this.orders.filter((order) => !this.children.some(({ commands }) => commands.has(order)));
    const { speed } = (this.children[0]!.desired ?? {}) as { speed?: number };
    return speed === this.#wanted ? missing : [...missing, `speed ${this.#wanted}, it has ${speed}`];
  }

  /** Looks at the process; with `live` garbage is collected afterwards. Nothing while there is none. */
  async sample(live: boolean): Promise<void> {
    const { gateway, life } = this;
    if (gateway === null) return;
    try {
      const { busy } = this;
      let figures = processFigures(gateway.process.pid!);
      // What a look at the board opens, and the tools that ask, come and go: what counts is what stays.
      for (let looks = 1; looks < LOOKS; looks++) {
        await sleep(LOOK_EVERY_MS);
        const again = processFigures(gateway.process.pid!);
        if (again.files < figures.files) figures = again;
      }
      const { ledger, upstream, children } = await this.status();
      const calm =
        !busy &&
        upstream?.state === 'online' &&
        children.running === children.total &&
        this.children.every(({ connected }) => connected);
      const kept = live ? await this.#liveBytes(gateway) : null;
      this.#readLog(gateway);
      this.samples.push({
        hour: this.hour,
        life,
        calm,
        ...figures,
        live: kept,
        spoolBytes: bytesOnDisk(join(this.dataDir, 'spool/data.mdb')),
        dataBytes: bytesOnDisk(this.dataDir),
        logBytes: this.#logBytes,
        pending: ledger.pending,
      });
    } catch (error) {
      // Killed while we looked.
      if (this.gateway === gateway) throw error;
    }
  }

  async end(): Promise<void> {
    for (const child of this.children) await child.end();
    for (const line of Object.values(this.lines)) await line.end();
    if (this.gateway !== null) this.gateway.process.kill('SIGKILL');
    await this.account.end();
    await this.operator.endAsync(true);
    await this.road.cut();
    await this.mosquitto.end();
  }

  yaml({ timeToLiveSecs = 604_800, messagesPerSec = 500 }: Changeable = {}): string {
    const simulated = Array.from(
      { length: SIMULATED },
      (_, n) => `  - { id: s-${n}, simulated: { sendIntervalMs: ${EVERY_MS}, messageCount: -1 } }`,
    );
    const { meter, weather, gps, oven } = this.lines;
    return `${this.#frame(timeToLiveSecs, messagesPerSec)}
hub: { hostName: localhost, listen: { mqtt: "127.0.0.1:${this.hubPort}" } }
routes:
  telemetry: FROM /messages/* INTO $upstream
  alarms: { route: "FROM /messages/modules/cooldown/* INTO $upstream", priority: 0, timeToLiveSecs: 86400 }
  hot: FROM /messages/* WHERE $connectionDeviceId = 'meter' INTO BrokeredEndpoint("/modules/cooldown/inputs/input")
modules:
  - id: cooldown
    query: |
      SELECT 'write' AS command, 'fan on' AS line, Max(timeCreated) AS maxEventTime
      INTO output FROM input TIMESTAMP BY timeCreated
      GROUP BY TumblingWindow(minute, 5) HAVING Avg(machine.temperature) > 30
    outputs: { output: [ { command: meter } ] }
children:
${simulated.join('\n')}
  - { id: board, host: { every: 60s } }
  - { id: meter, serial: { port: ${meter.port}, decoder: json } }
  - id: weather
    serial:
      port: ${weather.port}
      decoder: { csv: { columns: [n, temperature, humidity, pressure], separator: ";" } }
  - { id: gps, serial: { port: ${gps.port}, reopenAfter: 5m, decoder: { nmea: { sentences: [RMC] } } } }
  - id: oven
    serial: { port: ${oven.port}, reopenAfter: 5m, decoder: { csv: { columns: [n, temperature] } } }
`;
  }

  /** The gateway without anybody who says something: it only sends what it has. */
  silentYaml(): string {
    return this.#frame(604_800, 500);
  }

  /** A Raspberry Pi's settings for a card (device-profiles/raspberry-pi-4.yaml), but for a small quota. */
  #frame(timeToLiveSecs: number, messagesPerSec: number): string {
    return `
gateway: { id: line-4, profile: simulated, dataDir: ${this.dataDir} }
upstream:
  url: ${this.road.url}
  keepaliveSecs: 30
  maxRate: { messagesPerSec: ${messagesPerSec} }
storeAndForward:
  quota: ${QUOTA_BYTES}B
  keepFree: 0%
  timeToLiveSecs: ${timeToLiveSecs}
  commitEveryMs: 1000
  write: when-needed`;
  }

  async #liveBytes(gateway: GatewayProcess): Promise<Live> {
    rmSync(this.#heap, { force: true });
    gateway.process.kill('SIGUSR2');
    const text = await until(
      'the size of the heap',
      () => {
        if (this.gateway !== gateway) throw new Error('the gateway is gone');
        try {
          return readFileSync(this.#heap, 'utf8');
        } catch {
          return null;
        }
      },
      WAIT_MS_MAX,
    );
    return JSON.parse(text) as Live;
  }

  #readLog(gateway: GatewayProcess): void {
    for (; this.#logLines < gateway.log.length; this.#logLines++) {
      const line = gateway.log[this.#logLines]!;
      this.#logBytes += line.length + 1;
      this.logged.push(line);
    }
  }
}
