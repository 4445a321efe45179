import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Message } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { ModuleInput } from './router.ts';

/** A refusal is said once in so long, ms: it may be each reading's. */
const SAID_EVERY_MS = 60_000;

export interface DeliveriesOptions {
  /** Local rules. */
  readonly rules: { has(module: string): boolean; feed(message: Message, inputs: readonly ModuleInput[]): void };
  /** Where children and their modules are connected; null while nobody can connect. */
  readonly front: () => Front | null;
  readonly isWired: (child: string) => boolean;
  /** Tells a child what to do, at once; nobody waits for the answer. */
  readonly order: (order: { child: string; command: string; payload: unknown; id: string }) => void;
  /** The body as what it says, where that can be told. */
  readonly readable: (body: Buffer) => unknown;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The hub. Both reject when there is no room. */
export interface Front {
  input(child: string, input: string, message: Message): Promise<void>;
  moduleInput(module: string, input: string, message: Message): Promise<void>;
}

/** Takes messages that routes lead to modules and children to where these are: rules here, the hub, drivers. */
export class Deliveries {
  readonly #options: DeliveriesOptions;
  #saying = true;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  /** Rules, and modules of connected children that no rule has the name of. */
  modules(message: Message, inputs: readonly ModuleInput[]): void {
    const { rules, front } = this.#options;
    const ruled = inputs.filter(({ module }) => rules.has(module));
    if (ruled.length > 0) rules.feed(message, ruled);
    for (const { module, input } of inputs) {
      if (rules.has(module)) continue;
      front()
        ?.moduleInput(module, input, message)
        .catch((error: unknown) => this.refused(module, error as Error));
    }
  }

  /** To a child that is read over a wire it is a command of the input's name. */
  child(child: string, input: string, message: Message): void {
    const { front, isWired, order, readable } = this.#options;
    const hub = front();
    if (hub === null || isWired(child)) {
      order({ child, command: input, payload: readable(message.body), id: ulidText(message.id) });
    } else hub.input(child, input, message).catch((error: unknown) => this.refused(child, error as Error));
  }

  /** Nobody here can be told to wait: what is refused has been counted, and is said. */
  refused(id: string, error: Error): void {
    if (!this.#saying) return;
    const { clock, log } = this.#options;
    this.#saying = false;
    log.error({ child: id }, `readings are not taken: ${error.message}`);
    clock.after(SAID_EVERY_MS, () => (this.#saying = true));
  }
}
