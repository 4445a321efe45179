import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { commandMessage, type CommandContent, type CommandMessage } from '../commands/command-message.ts';
import type { CommandResult } from '../commands/commands.ts';
import { feedback, FEEDBACK_OUTPUT, type Fate } from '../commands/feedback.ts';
import type { CommandFromAbove, MethodFromAbove } from '../dialects/upstream-dialect.ts';
import { MailboxFull } from '../hub/mailbox.ts';
import { Rejections, type Reason } from './rejections.ts';
import { readJson } from '../message/json.ts';

/** Methods that may be under way at once. */
const METHODS_MAX = 100;
/** Seconds a method may take when its sender does not say. */
const RESPONSE_TIMEOUT_SECS = 30;
/** Longest reason that a sender hears, characters: an answer of a driver may stand in it. */
const WHY_MAX = 200;

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
  /**
   * Queues a message for a child that connects. Resolves when it is durable; rejects with a {@link MailboxFull} when there is no room
   * in its mailbox, otherwise when it cannot be kept now.
   */
  readonly queue: (child: string, module: string | null, message: CommandMessage) => Promise<void>;
  /** Gives the router what a sender is to hear. Resolves when it is durable; rejects when it is not taken. */
  readonly accept: (
    source: { readonly child: string; readonly output: string },
    content: CommandContent,
  ) => Promise<void>;
}

/** What somebody above wants done: messages for children, and direct methods. */
export class Errands {
  /** What was refused for good. */
  readonly rejections: Rejections;
  readonly #options: ErrandsOptions;
  #methods = 0;

  constructor(options: ErrandsOptions) {
    this.#options = options;
    this.rejections = new Rejections(options.clock, options.log);
  }

  /**
   * A message to a child, one of its modules or the gateway. Resolves when it is durable, done or refused for good, and a sender who
   * asked to hear of the latter two will; rejects when it should be tried again. For those who only take commands, the gateway and
   * what it reads itself, its body is JSON `{command, ...}` as a rule's output is, and is carried out at once.
   */
  async message(message: CommandFromAbove): Promise<void> {
    const { clock, gateway, isWired, takesMessages, queue, invoke } = this.#options;
    const { child, module, lifeSecs } = message;
    const judged = commandMessage(message, clock, lifeSecs);
    if ('refused' in judged) return this.#refuse(message, judged.reason, judged.refused);
    // First of all: these do not wait until it is known who may connect.
    const atOnce = module === null && (child === gateway || isWired(child));
    if (!atOnce && takesMessages(child, module)) {
      try {
        await queue(child, module, judged);
      } catch (error) {
        // Unacknowledged it would hold up what is for others: a broker has only so much under way to us, and we acknowledge in order.
        if (!(error instanceof MailboxFull)) throw error;
        await this.#refuse(message, 'full', error.message);
      }
      return;
    }
    if (!atOnce) return this.#refuse(message, 'unknown', 'there is nobody of that name who takes messages');
    const order = orderIn(message.body);
    if (order === null)
      return this.#refuse(message, 'malformed', 'it takes {"command": "...", ...} as JSON, and nothing else');
    const { command, ...payload } = order;
    const { status, payload: answer } = await invoke(
      child,
      command,
      payload,
      undefined,
      message.properties['messageId'],
    );
    if (status >= 400) await this.#refuse(message, 'failed', `${command} failed: ${JSON.stringify(answer)}`);
    else await this.#tell(message, 'delivered');
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
      const given = payload.length === 0 ? null : readJson(payload.toString('utf8'));
      const result = await invoke(id, method, given, secs);
      return answer(result.status, result.payload ?? null);
    } catch (error) {
      return answer(400, { error: `the payload is not JSON: ${(error as Error).message}` });
    } finally {
      this.#methods--;
    }
  }

  async #refuse(message: CommandFromAbove, reason: Reason, why: string): Promise<void> {
    const { child, module } = message;
    this.rejections.add({ child: module === null ? child : `${child}/${module}`, reason, why });
    if (reason === 'expired') await this.#tell(message, 'expired');
    else await this.#tell(message, 'refused', why.slice(0, WHY_MAX));
  }

  /** Its sender hears of it, if its `ack` asks. */
  async #tell(message: CommandFromAbove, fate: Fate, why?: string): Promise<void> {
    const { gateway, clock, accept } = this.#options;
    const content = feedback(message.child, message, fate, clock.wall(), why);
    if (content === null) return;
    // A sender that cannot be told is no reason to have the message again.
    await accept({ child: gateway, output: FEEDBACK_OUTPUT }, content).catch(() => undefined);
  }
}

function answer(status: number, payload: unknown) {
  return { status, payload: Buffer.from(JSON.stringify(payload)) };
}

function orderIn(body: Buffer): { readonly command: string } | null {
  try {
    const value = readJson(body.toString('utf8'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    return typeof (value as { command?: unknown }).command === 'string' ? (value as { command: string }) : null;
  } catch {
    return null;
  }
}
