import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { commandMessage, type CommandMessage } from '../commands/command-message.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { CommandFromAbove, MethodFromAbove } from '../dialects/upstream-dialect.ts';

/** Methods that may be under way at once. */
const METHODS_MAX = 100;
/** Seconds a method may take when its sender does not say. */
const RESPONSE_TIMEOUT_SECS = 30;
/** A refusal is said once in so long, ms: its sender may try again and again. */
const SAID_EVERY_MS = 60_000;

export interface ErrandsOptions {
  readonly gateway: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Never rejects. */
  readonly invoke: (
    id: string,
    name: string,
    payload: unknown,
    timeoutSecs?: number,
    commandId?: string,
  ) => Promise<CommandResult>;
  /** Whether messages can be queued for it: a child that connects, or one of its modules. */
  readonly takesMessages: (child: string, module: string | null) => boolean;
  /** Whether it can be told to do something at once: the gateway, or a child that it reads itself. */
  readonly isWired: (child: string) => boolean;
  /** Queues a message for a child that connects. Resolves when it is durable; rejects when there is no room, or it cannot be kept. */
  readonly queue: (child: string, module: string | null, message: CommandMessage) => Promise<void>;
}

/** What somebody above wants done: messages for children, and direct methods. */
export class Errands {
  readonly #options: ErrandsOptions;
  #methods = 0;
  #refused = 0;
  #saidAt = -Infinity;

  constructor(options: ErrandsOptions) {
    this.#options = options;
  }

  /** Messages that were refused for good since the start. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * A message to a child, one of its modules or the gateway. Resolves when it is durable, done or refused for good; rejects when it
   * should be tried again. For those who only take commands, the gateway and what it reads itself, its body is JSON
   * `{command, ...}` as a rule's output is, and is carried out at once.
   */
  async message(message: CommandFromAbove): Promise<void> {
    const { clock, gateway, isWired, takesMessages, queue, invoke } = this.#options;
    const { child, module, lifeSecs } = message;
    const judged = commandMessage(message, clock, lifeSecs);
    if ('refused' in judged) return this.#refuse(message, judged.refused);
    if (takesMessages(child, module)) return queue(child, module, judged);
    if (module !== null || !(child === gateway || isWired(child)))
      return this.#refuse(message, 'there is nobody of that name who takes messages');
    const order = orderIn(message.body);
    if (order === null) return this.#refuse(message, 'it takes {"command": "...", ...} as JSON, and nothing else');
    const { command, ...payload } = order;
    const { status, payload: answer } = await invoke(
      child,
      command,
      payload,
      undefined,
      message.properties['messageId'],
    );
    if (status >= 400) this.#refuse(message, `${command} failed: ${JSON.stringify(answer)}`);
  }

  /** A direct method. Resolves with its answer, or with null when nobody waits for one any more; never rejects. */
  async method(request: MethodFromAbove): Promise<{ readonly status: number; readonly payload: Buffer } | null> {
    const { clock, invoke } = this.#options;
    const { child, module, method, payload, responseTimeoutSecs, sentAt, fault } = request;
    if (fault !== undefined) return answer(400, { error: fault });
    const secs = responseTimeoutSecs ?? RESPONSE_TIMEOUT_SECS;
    // Only a known clock can tell that a request is too old.
    if (sentAt !== null && clock.known() && sentAt + secs * 1000 < clock.wall()) return null;
    if (this.#methods >= METHODS_MAX) return answer(429, { error: `${METHODS_MAX} methods are under way already` });
    this.#methods++;
    try {
      const id = module === null ? child : `${child}/${module}`;
      const given: unknown = payload.length === 0 ? null : JSON.parse(payload.toString('utf8'));
      const result = await invoke(id, method, given, secs);
      return answer(result.status, result.payload ?? null);
    } catch (error) {
      return answer(400, { error: `the payload is not JSON: ${(error as Error).message}` });
    } finally {
      this.#methods--;
    }
  }

  #refuse({ child, module }: CommandFromAbove, why: string): void {
    this.#refused++;
    const { clock, log } = this.#options;
    if (clock.monotonic() < this.#saidAt + SAID_EVERY_MS) return;
    this.#saidAt = clock.monotonic();
    log.warn(
      { child: module === null ? child : `${child}/${module}`, refused: this.#refused },
      `a message from above is refused: ${why}`,
    );
  }
}

function answer(status: number, payload: unknown) {
  return { status, payload: Buffer.from(JSON.stringify(payload)) };
}

function orderIn(body: Buffer): { readonly command: string } | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    return typeof (value as { command?: unknown }).command === 'string' ? (value as { command: string }) : null;
  } catch {
    return null;
  }
}
