import { join } from 'node:path';
import { pino, type Logger } from 'pino';
import { signSasToken } from '../../src/dialects/sas-token.ts';
import type { Admission, Gatekeeper, Presented } from '../../src/hub/gatekeeper.ts';
import { Enrolment } from '../../src/registry/enrolment.ts';
import { State } from '../../src/store/state.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ManualClock } from '../manual-clock.ts';
import { writeFileSync } from 'node:fs';

export const HUB = 'myhub.azure-devices.net';

/** A registry on a real state environment, with a clock that the test moves and a log that it can read. */
export class RegistryRig {
  readonly dir: string;
  readonly clock: ManualClock;
  readonly log: string[] = [];
  readonly logger: Logger;
  state!: State;
  enrolment!: Enrolment;
  credentialsDir: string | undefined;
  builtAt = Date.UTC(2025, 0, 1);
  hub = '';
  children = '';

  constructor(dir: string, clock: ManualClock = new ManualClock()) {
    this.dir = dir;
    this.clock = clock;
    this.logger = pino({ base: null, timestamp: false }, { write: (line: string) => void this.log.push(line) });
  }

  async open(): Promise<this> {
    const file = join(this.dir, 'gateway.yaml');
    const lines = [
      'gateway: { id: line-4, dataDir: data }',
      `hub: { hostName: gateway.local, iothubName: ${HUB}, ${this.hub} }`,
      `children: [ { id: press-1, simulated: {} }, ${this.children} ]`,
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const { config } = loadConfig(file);
    this.state = new State(join(this.dir, 'data/state'));
    const { clock, builtAt } = this;
    try {
      this.enrolment = await Enrolment.open({
        config,
        medium: this.state,
        clock,
        log: this.logger,
        builtAt,
        credentialsDir: this.credentialsDir ?? '',
      });
    } catch (error) {
      await this.state.close();
      throw error;
    }
    return this;
  }

  async close(): Promise<void> {
    await this.enrolment.stop();
    await this.state.close();
  }

  /** Closes and opens it again, as a restart does. */
  async again(): Promise<void> {
    await this.close();
    await this.open();
  }

  /** A token for a device or `device/module`. */
  token(
    id: string,
    key: string,
    { secs = 3600, hub = HUB, keyName }: { secs?: number; hub?: string; keyName?: string } = {},
  ): Buffer {
    const [device, module] = id.split('/');
    const resource = `${hub}/devices/${device}${module === undefined ? '' : `/modules/${module}`}`;
    const expiry = Math.floor(this.clock.wall() / 1000) + secs;
    return Buffer.from(signSasToken(resource, Buffer.from(key, 'base64'), expiry, keyName));
  }
}

/** What an SDK child presents. */
export function presentedBy(id: string, what: Partial<Presented> = {}): Presented {
  return {
    clientId: id,
    username: `${HUB}/${id}/?api-version=2021-04-12&DeviceClientType=azure-iot-device%2F1.18.4`,
    password: undefined,
    certificates: [],
    address: '192.0.2.9',
    ...what,
  };
}

/** What becomes of it, `in` or why not. A refusal may be held back: time moves on until it is there. */
export async function decided(
  rig: RegistryRig,
  presented: Presented,
  keeper: Gatekeeper = rig.enrolment.gatekeeper(),
): Promise<string> {
  const timers = rig.clock.timers;
  let answer: Admission | undefined;
  const answered = keeper.admit(presented).then((admission) => void (answer = admission));
  await rig.clock.flow(0);
  while (answer === undefined) {
    // While a password is reckoned the clock stands still, however long that takes: nothing waits for time to pass yet.
    if (rig.clock.timers > timers) await rig.clock.flow(1000);
    else await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, 5))]);
  }
  return outcome(answer);
}

/** `in`, or why not. */
export function outcome(admission: Admission): string {
  return 'client' in admission ? 'in' : `${admission.refused}: ${admission.why}`;
}
