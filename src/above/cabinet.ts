import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Enrolment } from '../registry/enrolment.ts';
import { JwkError } from '../registry/jwk.ts';
import type { Twins } from '../twins/twins.ts';
import type { Opened } from './liaison.ts';
import { Registrar } from './registrar.ts';

export interface CabinetOptions {
  /** Rejects while what is sealed cannot be opened. */
  readonly enrolment: () => Promise<Enrolment>;
  readonly twins: () => Promise<Twins>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What the gateway keeps locked away and above has a say in: opened when it is asked for, and tried again until it can be. */
export class Cabinet {
  readonly #options: CabinetOptions;
  #found: Pick<Opened, 'registry' | 'key'> | null = null;
  #said = false;

  constructor(options: CabinetOptions) {
    this.#options = options;
  }

  /** Without the gateway's key, nobody can send us a registry document, and all else is as usual. */
  async open(): Promise<Opened> {
    const { enrolment, twins } = this.#options;
    const opened = await enrolment();
    this.#found ??= this.#withKey(opened);
    return { twins: await twins(), ...(this.#found ?? { registry: null, key: null }) };
  }

  #withKey(enrolment: Enrolment): Pick<Opened, 'registry' | 'key'> | null {
    const { clock, log } = this.#options;
    try {
      const key = enrolment.gatewayKey();
      const trust = () => enrolment.trustedKey();
      const registry = new Registrar({ registry: enrolment.registry, key, trust, clock, log });
      return { registry, key: Buffer.from(JSON.stringify(key.public)) };
    } catch (error) {
      if (!(error instanceof JwkError)) throw error;
      if (!this.#said) log.error(`no registry document can come from above: ${error.message}`);
      this.#said = true;
      return null;
    }
  }
}
