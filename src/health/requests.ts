import type { Stored } from '../message/message.ts';
import { ulidText } from '../message/ulid.ts';
import type { SpoolStats } from '../spool/stats.ts';
import type { Verification } from '../spool/inspection.ts';
import { RequestRefused, type Handler } from './control-server.ts';
import type { LogRing } from './log-ring.ts';

/** What the command line may ask of a running gateway. */
export interface Asked {
  status(): object;
  list(): readonly { readonly id: string }[];
  restart(id: string): Promise<boolean>;
  spoolStats(): SpoolStats;
  peek(count: number, lane?: number): readonly Stored[];
  verify(): Verification;
  readonly commands: {
    invoke(
      id: string,
      name: string,
      payload: unknown,
      timeoutSecs?: number,
    ): Promise<{ status: number; payload: unknown }>;
  };
}

/** The requests by name. `live.gateway` is null while it is still opening its spool. */
export function requests(live: { readonly gateway: Asked | null }, ring: LogRing): Record<string, Handler> {
  const gateway = () => {
    if (live.gateway === null) throw new RequestRefused('the gateway is starting; try again in a moment');
    return live.gateway;
  };
  return {
    status: (_, { send }) => send(gateway().status()),
    list: (_, { send }) => {
      for (const child of gateway().list()) send(child);
    },
    restart: async ({ child }) => {
      if (!(await gateway().restart(String(child)))) throw new RequestRefused(`there is no child "${String(child)}"`);
    },
    logs: ({ tail, follow, child }, { send, onGone }) => {
      const only = typeof child === 'string' ? child : undefined;
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
      const found = gateway().peek(Number(count ?? 10), typeof lane === 'number' ? lane : undefined);
      for (const stored of found) send(peeked(stored));
    },
    'spool verify': (_, { send }) => send(gateway().verify()),
    invoke: async ({ child, name, payload, timeoutSecs }, { send }) => {
      const secs = typeof timeoutSecs === 'number' ? timeoutSecs : undefined;
      send(await gateway().commands.invoke(String(child), String(name), payload ?? null, secs));
    },
  };
}

/** A stored message as `spool peek` shows it; a body that is not JSON or text comes as base64. */
export function peeked({ lane, epoch, seq, message }: Stored) {
  return {
    lane,
    epoch,
    seq,
    id: ulidText(message.id),
    child: message.source.child,
    module: message.source.module ?? null,
    output: message.source.output ?? null,
    eventTime: message.eventTime === undefined ? null : new Date(message.eventTime).toISOString(),
    acceptedAt: new Date(message.acceptedAt.wall).toISOString(),
    contentType: message.contentType ?? null,
    properties: message.properties ?? {},
    ...bodyOf(message.body),
  };
}

function bodyOf(body: Buffer): { body: unknown } | { bodyBase64: string } {
  const text = body.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(body)) return { bodyBase64: body.toString('base64') };
  try {
    return { body: JSON.parse(text) as unknown };
  } catch {
    return { body: text };
  }
}
