import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { chance } from '../parts/chance.ts';
import { freePort } from '../parts/free-port.ts';
import { startMosquitto, type Mosquitto } from '../parts/mosquitto.ts';
import { SteadyChild } from '../parts/steady-child.ts';
import { until } from '../parts/until.ts';
import { startWatcher, type Arrival, type Watcher } from '../parts/watcher.ts';
import { Card } from './card.ts';
import { Machine, type Kind } from './machine.ts';

export const GATEWAY = 'bench';
const PASSWORD = 'told only in holdfast-provision.yaml';
/** The label of the machine's GPIO chip, and which of its lines are wired. */
const CHIP = '9030000.pl061';
export const CONTACT = 0;
export const RELAY = 4;
/** ms from reading to reading of the child that never stops. */
export const TICK_MS = 500;
/** The broker is heard of so soon when it is back, and missed so soon when it is gone. */
const RECONNECT_SECS_MAX = 4;
export const KEEPALIVE_SECS = 5;
export const QUOTA = '16MiB';
/** Longest that anything may take in a machine whose every instruction is emulated, ms; only a failing bench gets there. */
export const LONG_MS = 400_000;

/** What `spool stats --json` says, as far as it is looked at. */
export interface Stats {
  readonly ledger: {
    readonly accepted: number;
    readonly delivered: number;
    readonly pending: number;
    readonly deadLetters: number;
    readonly dropped: Readonly<Record<string, number>>;
  };
  readonly file: { readonly bytes: number; readonly quotaBytes: number };
}

/** What systemd says of the gateway's unit. */
export interface Unit {
  readonly state: string;
  readonly pid: number;
  readonly restarts: number;
}

/** The place: a board with its card, the broker above it, somebody who watches there, and the children around it. */
export class Site {
  readonly card: Card;
  readonly broker: Mosquitto;
  readonly watcher: Watcher;
  /** Connects to the hub and publishes; each number that was acknowledged must arrive. */
  readonly speaker: SteadyChild;
  readonly random: () => number;
  readonly #dir: string;
  readonly #hubPort: number;
  #machine: Machine | null = null;
  /** The speaker has an account on the card. */
  #introduced = false;

  private constructor(dir: string, card: Card, broker: Mosquitto, watcher: Watcher, hubPort: number, seed: number) {
    this.#dir = dir;
    this.card = card;
    this.broker = broker;
    this.watcher = watcher;
    this.#hubPort = hubPort;
    this.random = chance(seed);
    this.speaker = this.child('speaker', 64);
  }

  /** A fresh card with what an owner puts on it, and with the bench's agent. No machine runs. The folder is the site's. */
  static async open(image: string, dir: string, seed: number): Promise<Site> {
    const passwords = join(dir, 'passwords');
    execFileSync('mosquitto_passwd', ['-b', '-c', passwords, GATEWAY, PASSWORD], { stdio: 'ignore' });
    chmodSync(passwords, 0o600);
    const config = [`password_file ${passwords}`];
    const broker = await startMosquitto({ anonymous: false, persistence: true, config });
    const { url } = broker;
    const watcher = await startWatcher({ url, gateway: GATEWAY, username: GATEWAY, password: PASSWORD });
    const card = Card.from(image, dir);
    const here = (name: string): string => join(import.meta.dirname, name);
    card.putOnRoot(
      {
        '/usr/lib/bench-agent': here('agent.sh'),
        '/usr/lib/systemd/system/bench-agent.service': here('bench-agent.service'),
      },
      {
        '/etc/systemd/system/multi-user.target.wants/bench-agent.service':
          '/usr/lib/systemd/system/bench-agent.service',
      },
    );
    const site = new Site(dir, card, broker, watcher, await freePort(), seed);
    card.putOnBoot('holdfast-provision.yaml', site.#provision());
    return site;
  }

  /** The machine that runs. */
  get machine(): Machine {
    if (this.#machine === null) throw new Error('no machine runs');
    return this.#machine;
  }

  get running(): boolean {
    return this.#machine?.running === true;
  }

  /** Switches a machine on, and waits for what {@link Machine.whenBooted} says. */
  async boot(kind: Kind = 'virt'): Promise<Machine> {
    await this.switchOn(kind);
    try {
      await this.machine.whenBooted();
    } catch (error) {
      await this.machine.discard();
      throw error;
    }
    return this.machine;
  }

  async switchOn(kind: Kind = 'virt'): Promise<void> {
    if (this.running) throw new Error('a machine runs already');
    this.#machine = await Machine.start(this.card, { kind, hubPort: this.#hubPort, dir: this.#dir });
  }

  /** The board as a scenario expects it: booted, its unit active, the speaker's account there, the broker reached. */
  async ready(): Promise<void> {
    if (!this.broker.running) await this.broker.start();
    if (!this.running) await this.boot();
    await this.untilActive();
    if (this.#introduced) return;
    await this.machine.shell(
      `umask 077; printf '%s' '${PASSWORD}' > /run/password; ` +
        `holdfast children add speaker --password-file /run/password && ` +
        `holdfast children add filler --password-file /run/password; code=$?; rm /run/password; exit $code`,
    );
    this.#introduced = true;
  }

  /** A child outside the machine that comes in by the hub. */
  child(id: string, bytes: number): SteadyChild {
    return new SteadyChild({
      connection: { host: '127.0.0.1', port: this.#hubPort },
      credentials: () => ({ clientId: id, username: id, password: PASSWORD }),
      topic: `holdfast/v1/${GATEWAY}/${id}/events`,
      // The spool makes less of what can be made less of.
      body: (n) => Buffer.concat([Buffer.from(`${n} `), randomBytes(bytes)]),
      everyMs: 50,
    });
  }

  async unit(): Promise<Unit> {
    const said = await this.machine.shell('systemctl show holdfast.service -p ActiveState,MainPID,NRestarts');
    const value = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(said)?.[1] ?? '';
    return { state: value('ActiveState'), pid: Number(value('MainPID')), restarts: Number(value('NRestarts')) };
  }

  /** Resolves when systemd was told that the gateway is ready; by a process other than `than`, where that is given. */
  async untilActive(than = 0): Promise<Unit> {
    let last: Unit | undefined;
    return until(
      () => `holdfast.service to be active; it is ${JSON.stringify(last)}`,
      async () => {
        last = await this.unit();
        return last.state === 'active' && last.pid !== than && last;
      },
      LONG_MS,
    );
  }

  /** A command of the gateway's, in the machine; its JSON. */
  async ask<T>(command: string): Promise<T> {
    // `check` ends with 1 when it has found something, and says what all the same.
    const { code, output } = await this.machine.agent.run(`holdfast ${command} --json 2>/run/bench-error`);
    if (code > 1) throw new Error(`holdfast ${command} ended with ${code}: ${output}`);
    return JSON.parse(output) as T;
  }

  stats(): Promise<Stats> {
    return this.ask('spool stats');
  }

  /** What the machine's clock says, ms. */
  async time(): Promise<number> {
    return Number(await this.machine.shell('date +%s%3N'));
  }

  /** Arrivals from one child, the first sight of each. */
  from(child: string): Arrival[] {
    return this.watcher.firstSights().filter((each) => each.child === child);
  }

  /** Resolves when something has arrived that was measured from now on: all before it, in its lane, has then, too. */
  async caughtUp(): Promise<void> {
    const now = await this.time();
    await this.watcher.until(
      () => `a reading of later than ${new Date(now).toISOString()} to arrive`,
      ({ events }) => events.some(({ child, acceptedAt }) => child === 'ticker' && Date.parse(acceptedAt ?? '') > now),
      LONG_MS,
    );
  }

  /**
   * Holds what arrived against what was promised: each number that the speaker was acknowledged, everything once and in order,
   * every number that is missing within an epoch in a loss report. Throws with what is wrong.
   */
  account(): { readonly arrived: number; readonly lost: number } {
    const { watcher, speaker } = this;
    assert.deepEqual(speaker.complaints, []);
    const said = new Set(this.from('speaker').map(({ body }) => Number.parseInt(body.toString(), 10)));
    const missing = speaker.acknowledged.filter((n) => !said.has(n));
    assert.deepEqual(missing, [], 'acknowledged, and not arrived');
    assert.equal(watcher.outOfOrder().length, 0, 'arrived out of order');
    assert.equal(watcher.contradictions().length, 0, 'a number used twice');
    const rows = new Map(watcher.losses.map((row) => [JSON.stringify({ ...row, after: 0 }), row]));
    let gone = 0;
    for (const { epoch, lane, from, to } of watcher.gaps()) {
      gone += to - from + 1;
      for (let seq = from; seq <= to; seq++) {
        const told = [...rows.values()].some(
          (row) => row.epoch === epoch && row.lane === lane && row.firstSeq <= seq && seq <= row.lastSeq,
        );
        assert.ok(told, `number ${seq} of epoch ${epoch}, lane ${lane} is missing, and no report says so`);
      }
    }
    const lost = [...rows.values()].filter(({ exact }) => exact).reduce((sum, { count }) => sum + count, 0);
    assert.equal(lost, gone, 'the reports count what is missing');
    return { arrived: watcher.firstSights().length, lost };
  }

  /** Takes all of it away; `keep`: not the folder with the card. */
  async end(keep: boolean): Promise<string> {
    await this.speaker.stop();
    await this.#machine?.discard();
    await this.watcher.end();
    await this.broker.end();
    if (!keep) rmSync(this.#dir, { recursive: true, force: true });
    return this.#dir;
  }

  /** What the owner writes: JSON is YAML. */
  #provision(): string {
    const file = {
      id: GATEWAY,
      upstream: {
        url: `mqtt://10.0.2.2:${this.broker.port}`,
        username: GATEWAY,
        passwordFile: 'upstream-password',
        keepaliveSecs: KEEPALIVE_SECS,
        reconnect: { minSecs: 0.5, maxSecs: RECONNECT_SECS_MAX },
      },
      credentials: { 'upstream-password': PASSWORD },
      config: {
        storeAndForward: { quota: QUOTA, keepFree: '1%', write: 'always' },
        hub: { hostName: 'bench.local', listen: { mqtt: '0.0.0.0:1883' } },
        children: [
          { id: 'ticker', simulated: { sendIntervalMs: TICK_MS, messageCount: -1 } },
          { id: 'speaker', connected: {} },
          { id: 'contact', gpio: { line: { chip: CHIP, offset: CONTACT } } },
          { id: 'relay', gpio: { line: { chip: CHIP, offset: RELAY }, direction: 'out' } },
          { id: 'uart', serial: { port: '/dev/ttyS0', baudRate: 115200, decoder: 'json' } },
          { id: 'adapter', serial: { port: { usb: { vendor: '0403', product: '6001' } }, decoder: 'json' } },
        ],
      },
    };
    return `${JSON.stringify(file, null, 2)}\n`;
  }
}
