import type { Config } from '../config/schema.ts';
import type { Enrolment } from '../registry/enrolment.ts';
import { SealError } from '../registry/seal-key.ts';
import type { Twins } from '../twins/twins.ts';
import { Front, type FrontOptions, type HubStatus } from './front.ts';

/** When it is tried again to let children connect, ms; sooner where only a key is missing that somebody is bringing. */
const AGAIN_MS = 30_000;
const KEY_AGAIN_MS = 5000;
/** For so long the start of the gateway waits, ms: a name to listen on is looked up for half a minute where nobody answers. */
const START_MS_MAX = 5000;

/**
 * Lets children connect, as soon as that can be: a port that somebody else has, a key or a certificate that is not there yet are said,
 * and it is tried again. Each reason is said once. Nothing else in the gateway waits for it.
 */
export class FrontDoor {
  readonly #options: Omit<FrontOptions, 'enrolment' | 'twins'>;
  readonly #enrolment: () => Promise<Enrolment | null>;
  readonly #twins: (enrolment: Enrolment) => Twins;
  #config: Config;
  #front: Front | null = null;
  #failed: Front | null = null;
  #fault: string | null = null;
  /** It has been tried to open it, and there is a hub. */
  #wanted = false;
  #stopped = false;

  /** `enrolment` gives null where there is no hub, and rejects while who may connect cannot be known. */
  constructor(
    options: Omit<FrontOptions, 'enrolment' | 'twins'>,
    enrolment: () => Promise<Enrolment | null>,
    twins: (enrolment: Enrolment) => Twins,
  ) {
    this.#options = options;
    this.#config = options.config;
    this.#enrolment = enrolment;
    this.#twins = twins;
  }

  /** Null while nobody can connect. */
  get front(): Front | null {
    return this.#front;
  }

  /**
   * Where what is for children waits for them, also while a port cannot be had; null where there is no hub. Throws while who may
   * connect cannot be known: what is refused then would be lost to a child that there is.
   */
  get mailroom(): Front | null {
    const front = this.#front ?? this.#failed;
    if (front === null && this.#wanted) {
      throw new Error(`it is not known who may connect: ${this.#fault ?? 'what the hub needs is not there yet'}`);
    }
    return front;
  }

  /** For `status`: how the hub does, or why nobody can connect; both null where there is no hub. */
  status(): { readonly hub: HubStatus | null; readonly hubFault: string | null } {
    return { hub: this.#front?.status() ?? null, hubFault: this.#fault };
  }

  /** Resolves when it is open, or will be later. */
  async open(): Promise<void> {
    const { clock } = this.#options;
    this.#wanted = this.#config.hub !== undefined;
    await new Promise<void>((resolve) => {
      const late = clock.after(START_MS_MAX, resolve);
      void this.#open().then(() => {
        late.cancel();
        resolve();
      });
    });
  }

  async #open(): Promise<void> {
    const { clock, log } = this.#options;
    try {
      const enrolment = await this.#enrolment();
      if (enrolment === null || this.#stopped) return;
      // One that found its port taken hears who is removed until the next takes its place.
      const failed = this.#failed;
      // The next one reads what this one has written: nothing more is put in.
      this.#failed = null;
      await failed?.stop();
      if (this.#stopped) return;
      const front = new Front({ ...this.#options, config: this.#config, enrolment, twins: this.#twins(enrolment) });
      this.#failed = front;
      await front.start();
      this.#failed = null;
      this.#front = front;
      this.#fault = null;
      front.configure(this.#config);
    } catch (error) {
      if (this.#stopped) return;
      const { message } = error as Error;
      const againMs = error instanceof SealError ? KEY_AGAIN_MS : AGAIN_MS;
      if (message !== this.#fault)
        log.error(`no child can connect: ${message}; it is tried again every ${againMs / 1000} s`);
      this.#fault = message;
      clock.after(againMs, () => void this.#open());
    }
  }

  /** Takes up what may change while it is open; what is read over a wire, and where it listens, is as it was. */
  configure(config: Config): void {
    this.#config = config;
    this.#front?.configure(config);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await (this.#front ?? this.#failed)?.stop();
  }
}
