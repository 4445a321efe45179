import type { Config } from '../config/schema.ts';
import { carryOut } from './desk.ts';
import { Enrolment, type EnrolmentOptions } from './enrolment.ts';
import { RegistryRefusal } from './registry.ts';
import { SealError } from './seal-key.ts';
import type { SyncStatus } from './sync.ts';

/**
 * The registry of a running gateway, which runs without it, too: a key that is not there keeps children out, and nothing else
 * from working. Without a hub it is opened when it is first asked for.
 */
export class Reception {
  readonly #options: EnrolmentOptions;
  #config: Config;
  #opening: Promise<Enrolment> | null = null;
  #open: Enrolment | null = null;
  #stopped = false;

  constructor(options: EnrolmentOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  /** Opens it when there is a hub that needs it; null when there is none. Rejects as {@link enrolment}. */
  async start(): Promise<Enrolment | null> {
    return this.#config.hub === undefined ? null : this.enrolment();
  }

  /** Takes up what the configuration says of children that connect; see {@link Enrolment.configure}. */
  configure(config: Config): void {
    this.#config = config;
    this.#open?.configure(config);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const enrolment = await this.#opening?.catch(() => null);
    await enrolment?.stop();
  }

  /** Opens it when it is not open. Rejects with a {@link SealError} while it cannot be: then it is tried again the next time. */
  enrolment(): Promise<Enrolment> {
    if (this.#stopped) return Promise.reject(new SealError('the gateway is stopping'));
    this.#opening ??= Enrolment.open({ ...this.#options, config: this.#config }).then(
      (enrolment) => {
        enrolment.start();
        this.#open = enrolment;
        // It may have changed while the medium was read.
        enrolment.configure(this.#config);
        return enrolment;
      },
      (error: unknown) => {
        this.#opening = null;
        throw error;
      },
    );
    return this.#opening;
  }

  /** The last registry document that was taken; null: none ever was, or the registry is not open. */
  syncStatus(): SyncStatus | null {
    return this.#open?.syncStatus() ?? null;
  }

  /** Does what the command line asks. Rejects with a {@link RegistryRefusal} when it cannot be done. */
  async carryOut(order: unknown): Promise<unknown> {
    const enrolment = await this.enrolment().catch((error: unknown) => {
      throw error instanceof SealError ? new RegistryRefusal(error.message) : error;
    });
    return carryOut(order, enrolment);
  }
}
