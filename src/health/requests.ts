import { nearest } from '../config/nearest.ts';
import { rfc3339 } from '../dialects/holdfast.ts';
import { incoming, NoMessage, type Incoming } from '../message/exchange.ts';
import type { Stored } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { SpoolStats } from '../spool/stats.ts';
import type { Verification } from '../spool/inspection.ts';
import { RequestRefused, type Handler } from './control-server.ts';
import type { LogRing } from './log-ring.ts';

/** Most messages that one look at the spool brings. */
export const PEEK_COUNT_MAX = 1000;

/** A child as the gateway knows it; times are wall milliseconds. */
interface Child {
  readonly id: string;
  readonly type: 'child';
  readonly kind: string;
  readonly state: string;
  readonly since: number;
  readonly readings: number;
  readonly malformed: number;
  readonly restarts: number;
  readonly lastReadingAt: number | null;
  readonly lastError: string | null;
  readonly retryInMs: number | null;
}

/** The gateway as it knows itself; `upstream.since` is wall milliseconds. */
interface Status {
  readonly gateway: string;
  readonly version: string;
  readonly profile: string;
  readonly uptimeSecs: number;
  readonly clock: { readonly known: boolean; readonly wall: string };
  readonly upstream: {
    readonly state: string;
    readonly url: string;
    readonly since: number;
    readonly protocol: string;
    readonly attempts: number;
    readonly inFlight: number;
    readonly sent: number;
    readonly lastError: string | null;
    readonly retryInMs: number | null;
  } | null;
  readonly spool: {
    readonly fileBytes: number;
    readonly quotaBytes: number;
    readonly full: boolean;
    readonly fault: string | null;
    readonly wear: SpoolStats['wear'];
  };
  readonly ledger: SpoolStats['ledger'];
  readonly children: { readonly total: number; readonly running: number; readonly failing: readonly string[] };
  readonly memory: { readonly rssBytes: number };
}

/** What the command line may ask of a running gateway. */
export interface Asked {
  status(): Status;
  list(): readonly Child[];
  restart(id: string): Promise<boolean>;
  spoolStats(): SpoolStats;
  peek(count: number, lane?: number): readonly Stored[];
  verify(): Promise<Verification>;
  /** Resolves when each is durable (null) or refused (why). */
  takeIn(messages: readonly Incoming[]): Promise<readonly (string | null)[]>;
  readonly commands: {
    invoke(
      id: string,
      name: string,
      payload: unknown,
      timeoutSecs?: number,
    ): Promise<{ status: number; payload: unknown }>;
  };
}

/** What `status` answers. */
export type GatewayStatus = Omit<Status, 'upstream'> & {
  readonly pid: number;
  readonly upstream: TimeAsText<NonNullable<Status['upstream']>, 'since'> | null;
};

/** What `list` answers, one by one. */
export type Listed = TimeAsText<Child, 'since' | 'lastReadingAt'>;

/** What `restart` answers: the drivers that were restarted, or the process that stops so that systemd starts it again. */
export type Restarted = { readonly children: readonly string[] } | { readonly pid: number };

type TimeAsText<T, Keys extends keyof T> = Omit<T, Keys> & {
  readonly [Key in Keys]: T[Key] extends number ? string : string | null;
};

/**
 * The requests by name. `live.gateway` is null while it is still opening its spool. `endToBeStartedAgain` ends the process
 * so that whoever watches over it starts it again; null when nobody does.
 */
export function requests(
  live: { readonly gateway: Asked | null },
  ring: LogRing,
  endToBeStartedAgain: (() => void) | null = null,
): Record<string, Handler> {
  const gateway = () => {
    if (live.gateway === null) throw new RequestRefused('the gateway is starting or stopping; try again in a moment');
    return live.gateway;
  };
  /** The child that is meant. Throws when there is none of that name. */
  const childNamed = (child: string): string => {
    const ids = gateway()
      .list()
      .map(({ id }) => id);
    if (ids.includes(child)) return child;
    const meant = nearest(child, ids);
    const hint = meant === undefined ? `there are ${ids.join(', ') || 'none'}` : `did you mean "${meant}"?`;
    throw new RequestRefused(`there is no child "${child}"; ${hint}`);
  };
  return {
    status: (_, { send }) => send(statusOf(gateway().status())),
    list: (_, { send }) => {
      for (const child of gateway().list()) send(listed(child));
    },
    restart: async ({ child }, { send }) => {
      if (child === undefined && endToBeStartedAgain !== null) {
        send({ pid: process.pid } satisfies Restarted);
        // The answer goes out before the process begins to end.
        setImmediate(endToBeStartedAgain);
        return;
      }
      const asked = gateway();
      const children = typeof child === 'string' ? [childNamed(child)] : asked.list().map(({ id }) => id);
      await Promise.all(children.map((id) => asked.restart(id)));
      send({ children } satisfies Restarted);
    },
    logs: ({ tail, follow, child }, { send, onGone }) => {
      // While it starts, its log is what one wants to see, and nobody can say yet which children there are.
      const only = typeof child !== 'string' ? undefined : live.gateway === null ? child : childNamed(child);
      for (const line of ring.tail(typeof tail === 'number' ? tail : Infinity, only)) send(line);
      if (follow !== true) return;
      return new Promise<void>((resolve) => {
        const unfollow = ring.follow((line) => {
          if (only === undefined || line.child === only) send(line);
        });
        onGone(() => {
          unfollow();
          resolve();
        });
      });
    },
    'spool stats': (_, { send }) => send(gateway().spoolStats()),
    'spool peek': ({ count, lane }, { send }) => {
      const most = Math.min(typeof count === 'number' ? count : 10, PEEK_COUNT_MAX);
      for (const stored of gateway().peek(most, typeof lane === 'number' ? lane : undefined)) send(peeked(stored));
    },
    'spool verify': async (_, { send }) => send(await gateway().verify()),
    'spool import': async ({ messages }, { send }) => {
      const read = (Array.isArray(messages) ? messages : []).map(incomingOrWhy);
      const sound = read.filter((each) => typeof each !== 'string');
      const taken = [...(await gateway().takeIn(sound))];
      send(read.map((each) => (typeof each === 'string' ? each : (taken.shift() ?? null))) satisfies Imported);
    },
    invoke: async ({ child, name, payload, timeoutSecs }, { send }) => {
      const secs = typeof timeoutSecs === 'number' ? timeoutSecs : undefined;
      send(await gateway().commands.invoke(String(child), String(name), payload ?? null, secs));
    },
  };
}

/** What `spool import` answers: for each message null when it is durable, or why it was not taken. */
export type Imported = (string | null)[];

function incomingOrWhy(form: unknown): Incoming | string {
  try {
    return incoming(form);
  } catch (error) {
    if (error instanceof NoMessage) return error.message;
    throw error;
  }
}

function statusOf({ upstream, ...status }: Status): GatewayStatus {
  return {
    pid: process.pid,
    ...status,
    upstream: upstream === null ? null : { ...upstream, since: timeText(upstream.since) },
  };
}

function listed({ since, lastReadingAt, ...child }: Child): Listed {
  return {
    ...child,
    since: timeText(since),
    lastReadingAt: lastReadingAt === null ? null : timeText(lastReadingAt),
  };
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

/** What `spool peek` answers, one by one. */
export type Peeked = ReturnType<typeof peeked>;

/** A stored message as `spool peek` shows it. */
export function peeked({ lane, epoch, seq, message }: Stored) {
  return {
    lane,
    epoch,
    seq,
    id: ulidText(message.id),
    child: message.source.child,
    module: message.source.module ?? null,
    output: message.source.output ?? null,
    eventTime: message.eventTime === undefined ? null : rfc3339(message.eventTime),
    acceptedAt: new Date(message.acceptedAt.wall).toISOString(),
    contentType: message.contentType ?? null,
    properties: message.properties ?? {},
    body: readableBody(message.body),
  };
}

/** A body as tools show it: parsed when it is JSON, else as text, and as `{base64}` when it is not UTF-8. */
export function readableBody(body: Buffer): unknown {
  const text = body.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(body)) return { base64: body.toString('base64') };
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
