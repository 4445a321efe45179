import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { ChildDialect, EventSaid, LowerWordSaid } from '../dialects/child-dialect.ts';
import type { Admission, Client, Presented } from './gatekeeper.ts';
import type { HubLimits } from './limits.ts';
import type { Connect } from './packets.ts';
import type { Services } from './services.ts';
import type { Session } from './session.ts';
import type { Wire } from './wire.ts';

/** Where a connection comes from. */
export interface Origin {
  readonly address: string;
  readonly protocol: 'mqtts' | 'wss' | 'mqtt';
  /** DER, leaf first. */
  readonly certificates: readonly Buffer[];
}

/** What is said for a client when its connection breaks: telemetry, or a lower gateway's word of itself. */
export interface Testament {
  readonly said: EventSaid | LowerWordSaid;
  readonly delaySecs: number;
}

/** Rejects when nobody takes it. */
export async function carryOut({ said }: Testament, client: Client, services: Services): Promise<void> {
  if (said.kind === 'event') await services.event(client, said);
  else await services.below?.word(said);
}

/** A client that was admitted, with all that it came with. */
export interface Newcomer {
  readonly wire: Wire;
  readonly origin: Origin;
  readonly client: Client;
  readonly connect: Connect;
  readonly will: Testament | null;
}

/** Of the hub, what each of its connections needs. */
export interface House {
  /** Always the same object; what is in it may change while the hub runs. */
  readonly limits: HubLimits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly services: Services;
  readonly dialects: { readonly [name in Client['dialect']]: ChildDialect };
  admit(presented: Presented): Promise<Admission>;
  /** Resolves when the subscriptions are durable, or have been waited for long enough. */
  subscribed(session: Session): Promise<void>;
  /** A method's answer; false: nobody asked. */
  answered(client: Client, rid: string, status: number, body: Buffer): boolean;
  /** Something was refused: counted, and said now and then, unless it has been. */
  refused(what: string, why: string, origin: Origin, said?: true): void;
}
