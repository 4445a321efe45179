import { twinRequests, type TwinsAsked } from './twin-requests.ts';
import type { Reconfigured } from '../config/change.ts';
import { nearest } from '../query/nearest.ts';
import { incoming, NoMessage, type Incoming } from '../message/exchange.ts';
import { RegistryRefusal } from '../registry/registry.ts';
import type { LettersDone } from '../spool/letter-orders.ts';
import type { SpoolDesk } from '../spool/desk.ts';
import { StoreError } from '../store/store-error.ts';
import { RequestRefused, type Handler } from './control-server.ts';
import type { LogRing } from './log-ring.ts';
import { metricsText } from './metrics.ts';
import { peeked, shownLetter } from './shown.ts';
import { listed, listedModule, statusOf, type Child, type Status } from './status.ts';

/** Most messages that one look at the spool brings. */
export const PEEK_COUNT_MAX = 1000;
/** Bodies after which one look at the dead letters ends, bytes: who wants more asks again, from the last on. */
const LETTERS_BYTES_MAX = 2 ** 20;

/** What the command line may ask of a running gateway. */
export interface Asked extends TwinsAsked {
  status(): Status;
  list(): readonly Child[];
  restart(id: string): Promise<boolean>;
  readonly spoolDesk: Pick<
    SpoolDesk,
    'stats' | 'peek' | 'acceptedTime' | 'pin' | 'verify' | 'deadLetters' | 'orderLetters' | 'compact' | 'takeIn'
  >;
  /** About children that connect; rejects with a {@link RegistryRefusal} when it cannot be done. */
  readonly reception: { carryOut(order: unknown): Promise<unknown> };
  readonly commands: {
    invoke(
      id: string,
      name: string,
      payload: unknown,
      timeoutSecs?: number,
    ): Promise<{ status: number; payload: unknown }>;
  };
}

/** What `restart` answers: the drivers that were restarted, or the process that stops so that systemd starts it again. */
export type Restarted = { readonly children: readonly string[] } | { readonly pid: number };

/** Who answers. */
export interface Answerer {
  /** `gateway` is null while it is still opening its spool. */
  readonly live: { readonly gateway: Asked | null };
  readonly ring: LogRing;
  /** Reads the configuration again, and throws {@link RequestRefused} when it cannot be used; null: there is no file of it. */
  readonly reload: (() => Reconfigured) | null;
  /** Ends the process so that whoever watches over it starts it again; null when nobody does. */
  readonly endToBeStartedAgain: (() => void) | null;
}

/** The requests by name. */
export function requests({ live, ring, reload, endToBeStartedAgain }: Answerer): Record<string, Handler> {
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
    ...twinRequests(gateway),
    status: (_, { send }) => send(statusOf(gateway().status())),
    list: (_, { send }) => {
      for (const child of gateway().list()) send(listed(child));
      for (const module of gateway().status().modules) send(listedModule(module));
    },
    restart: async ({ child }, { send }) => {
      if (child === undefined && endToBeStartedAgain !== null) {
        send({ pid: process.pid } satisfies Restarted);
        // The answer goes out before the process begins to end.
        setImmediate(endToBeStartedAgain);
        return;
      }
      const asked = gateway();
      const children =
        typeof child === 'string'
          ? [childNamed(child)]
          : asked.list().flatMap(({ id, kind }) => (kind === 'connected' ? [] : id));
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
    'spool stats': (_, { send }) => send(gateway().spoolDesk.stats()),
    'spool peek': ({ count, lane }, { send }) => {
      const most = Math.min(typeof count === 'number' ? count : 10, PEEK_COUNT_MAX);
      const { spoolDesk } = gateway();
      for (const stored of spoolDesk.peek(most, typeof lane === 'number' ? lane : undefined))
        send(peeked(stored, spoolDesk.acceptedTime));
    },
    'spool pin': (_, { send, onGone }) => {
      const { release, ended } = gateway().spoolDesk.pin();
      onGone(release);
      send('pinned');
      return ended;
    },
    'spool verify': async (_, { send }) => send(await gateway().spoolDesk.verify()),
    'spool dead-letters': ({ after }, { send }) => {
      const from = typeof after === 'number' ? after : 0;
      const { spoolDesk } = gateway();
      for (const letter of spoolDesk.deadLetters(from, LETTERS_BYTES_MAX))
        send(shownLetter(letter, spoolDesk.acceptedTime));
    },
    'spool dead-letters order': async ({ order, numbers }, { send }) => {
      if (order !== 'retry' && order !== 'drop') throw new RequestRefused('dead letters are retried or dropped');
      const named = Array.isArray(numbers) ? numbers.map(Number) : null;
      send((await gateway().spoolDesk.orderLetters(order, named)) satisfies LettersDone);
    },
    'spool compact': async (_, { send }) => {
      try {
        send(await gateway().spoolDesk.compact((copiedBytes) => send({ copiedBytes } satisfies Compacting)));
      } catch (error) {
        if (error instanceof StoreError) throw new RequestRefused(compactionFailed(error));
        throw error;
      }
    },
    enrolment: async ({ order }, { send }) => {
      try {
        send(await gateway().reception.carryOut(order));
      } catch (error) {
        if (error instanceof RegistryRefusal) throw new RequestRefused(error.message);
        throw error;
      }
    },
    reload: (_, { send }) => {
      gateway();
      if (reload === null) throw new RequestRefused('this gateway has no configuration that could be read again');
      send(reload());
    },
    metrics: (_, { send }) => {
      const asked = gateway();
      send(metricsText(asked.status(), asked.spoolDesk.stats()));
    },
    'spool import': async ({ messages }, { send }) => {
      const read = (Array.isArray(messages) ? messages : []).map(incomingOrWhy);
      const sound = read.filter((each) => typeof each !== 'string');
      const taken = [...(await gateway().spoolDesk.takeIn(sound))];
      send(read.map((each) => (typeof each === 'string' ? each : (taken.shift() ?? null))) satisfies Imported);
    },
    invoke: async ({ child, name, payload, timeoutSecs }, { send }) => {
      const secs = typeof timeoutSecs === 'number' ? timeoutSecs : undefined;
      send(await gateway().commands.invoke(String(child), String(name), payload ?? null, secs));
    },
  };
}

/** What `spool compact` answers while it copies; at last {@link Compacted}. */
export interface Compacting {
  readonly copiedBytes: number;
}

/** Why a file was not made smaller, and what to do about it. */
export function compactionFailed({ fault, message }: StoreError): string {
  if (fault !== 'full') return message;
  return `${message}. Nothing was changed. Have it wait until less is stored, or raise storeAndForward.quota (or lower keepFree) for so long: \`holdfast reload\` takes that up`;
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
