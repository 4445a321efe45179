import type { Clock } from '../clock/clock.ts';
import { commandMessage } from '../commands/command-message.ts';
import type { CommandResult } from '../commands/commands.ts';
import { feedback, FEEDBACK_OUTPUT, type Fate } from '../commands/feedback.ts';
import type { EventSaid, ToChild } from '../dialects/child-dialect.ts';
import { ORIGIN } from '../dialects/holdfast.ts';
import type { Message, Reading, Source } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import { changeNotice, presenceNotice } from '../twins/notice.ts';
import type { Twins, TwinChange } from '../twins/twins.ts';
import type { Client } from './gatekeeper.ts';
import type { Hub } from './hub.ts';
import type { MethodServices } from './methods-https.ts';
import type { Below, Services } from './services.ts';

/** How long a child waits for another's answer when it does not say, seconds. */
const RESPONSE_TIMEOUT_SECS = 30;

export interface SwitchboardOptions {
  /** The gateway's id. */
  readonly gateway: string;
  readonly clock: Clock;
  readonly commands: {
    invoke(id: string, name: string, payload: unknown, timeoutSecs?: number): Promise<CommandResult>;
  };
  readonly twins: Pick<Twins, 'read' | 'report'>;
  /** Where messages for children are queued. */
  readonly hub: () => Pick<Hub, 'deliver' | 'desired' | 'whenItTakes'>;
  /** Gives a message to the router. Takes its place in order at the call; rejects as {@link Services.event}. */
  readonly accept: (
    source: Source,
    content: Omit<Reading, 'measuredAt' | 'output'>,
    senderWaits: boolean,
  ) => Promise<void>;
  readonly hasRoom: () => boolean;
  /** See {@link Services.tooLarge}. */
  readonly tooLarge: () => void;
  /** Children that are wired: they take methods, and no messages. */
  readonly isWired: (child: string) => boolean;
  /** Whether it may connect at all. */
  readonly isRegistered: (child: string, module: string | null) => boolean;
  /** Whether some route takes `/twinChangeNotifications`: without one, a notice would only be booked as dropped. */
  readonly noticesWanted: () => boolean;
  readonly below?: Below | undefined;
}

/** Connects what clients of the hub say with who does it: router, twins, commands, and the hub itself for other clients. */
export class Switchboard implements Services, MethodServices {
  readonly #options: SwitchboardOptions;

  constructor(options: SwitchboardOptions) {
    this.#options = options;
  }

  get below(): Below | undefined {
    return this.#options.below;
  }

  event({ child, module }: Client, said: EventSaid): Promise<void> {
    const source: { child: string; module?: string; output?: string } = { child };
    if (module !== null) source.module = module;
    if (said.output !== null) source.output = said.output;
    // Where it comes from is not a child's to say.
    if (ORIGIN in said.properties) delete said.properties[ORIGIN];
    return this.#options.accept(source, said, true);
  }

  tooLarge(): void {
    this.#options.tooLarge();
  }

  hasRoom(): boolean {
    return this.#options.hasRoom();
  }

  // Async, so that a twin that cannot be read is a rejection.
  async twinGet({ child, module }: Client) {
    return this.#options.twins.read(child, module);
  }

  twinPatch({ child, module }: Client, body: Buffer) {
    return this.#options.twins.report(child, module, body);
  }

  async invoke(
    _: Client,
    child: string,
    module: string | null,
    method: string,
    body: Buffer,
    responseTimeoutSecs: number | null,
    connectTimeoutSecs = 0,
  ) {
    const id = module === null ? child : `${child}/${module}`;
    // A dialect has seen to it that it is JSON.
    const given: unknown = body.length === 0 ? null : JSON.parse(body.toString('utf8'));
    const secs = responseTimeoutSecs ?? RESPONSE_TIMEOUT_SECS;
    if (this.#options.isRegistered(child, module))
      await this.#options.hub().whenItTakes(child, module, method, connectTimeoutSecs);
    const { status, payload, failed } = await this.#options.commands.invoke(id, method, given, secs);
    const answer = payload === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(payload));
    return { status, payload: answer, ...(failed === undefined ? {} : { failed }) };
  }

  async send(client: Client, child: string, message: ToChild): Promise<void> {
    const { clock, hub, isWired } = this.#options;
    if (isWired(child)) throw new Error(`${child} is wired: it takes methods, and no messages`);
    const { body, contentType, contentEncoding, properties = {} } = message;
    const content = {
      body,
      properties,
      ...(contentType === undefined ? {} : { contentType }),
      ...(contentEncoding === undefined ? {} : { contentEncoding }),
    };
    const judged = commandMessage(content, clock);
    if ('refused' in judged) throw new Error(`a message for ${child} is not taken: ${judged.refused}`);
    const from = { child: client.child, ...(client.module === null ? {} : { module: client.module }) };
    await hub().deliver(child, null, 'command', { ...content, from }, judged.expiresAfterSecs);
  }

  /** What became of a message that was queued for a child: null when its sender does not want to hear. See {@link Hub}. */
  settled(child: string, message: ToChild, fate: Fate): Promise<void> | null {
    const { gateway, clock, accept } = this.#options;
    const content = feedback(child, message, fate, clock.wall());
    // Its record stays on the medium until this one is there.
    return content === null ? null : accept({ child: gateway, output: FEEDBACK_OUTPUT }, content, true);
  }

  present({ child, module }: Client, connected: boolean): void {
    const { gateway, clock, noticesWanted } = this.#options;
    if (noticesWanted()) this.#notify(presenceNotice(gateway, child, module, connected, clock.wall()));
  }

  /** A twin has changed: its child is told of desired properties, routes of reported ones. For {@link Twins}. */
  twinChanged(change: TwinChange): void {
    const { gateway, hub, noticesWanted } = this.#options;
    if (change.side === 'desired') hub().desired(change.child, change.module, change.version, change.patch);
    const notice = noticesWanted() ? changeNotice(gateway, change) : null;
    if (notice !== null) this.#notify(notice);
  }

  #notify({ source, ...content }: NonNullable<ReturnType<typeof changeNotice>>): void {
    // Refused for want of room: the spool has counted it, and nobody waits for it.
    this.#options.accept(source, content, false).catch(() => undefined);
  }
}

/** A message that a route leads to a connected child, in the form in which the hub delivers it. */
export function toChild(message: Message): ToChild {
  const { body, contentType, contentEncoding, properties, id, source } = message;
  return {
    body,
    messageId: ulidText(id),
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    ...(properties === undefined ? {} : { properties }),
    from: { child: source.child, ...(source.module === undefined ? {} : { module: source.module }) },
  };
}
