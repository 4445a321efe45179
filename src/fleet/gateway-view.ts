import { isObject, type JsonObject } from '../twins/patch.ts';

/** A gateway as its retained status has it. What an older one does not say, or nobody understands, is null. */
export interface GatewayView {
  readonly gateway: string;
  readonly state: 'online' | 'offline' | 'unknown';
  /**
   * RFC 3339. Of one that was cut off, the broker has only what it was given when that connection began: a time before it, as
   * is the rest of what it says.
   */
  readonly since: string | null;
  readonly version: string | null;
  readonly backlog: { readonly pending: number | null; readonly oldestAgeSecs: number | null };
  /** Dropped since its spool was made, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly deadLetters: number | null;
  readonly lastLoss: { readonly at: string | null; readonly reason: string; readonly count: number } | null;
  readonly children: number | null;
  /** How its children reach it; null: it takes none, or does not say. */
  readonly hub: { readonly hostName: string; readonly iothubName: string | null } | null;
}

/** Reads a status as gateways publish it. */
export function gatewayView(gateway: string, body: Buffer): GatewayView {
  const { state, since, version, spool, children, hub } = objectIn(body);
  const { pending, oldestAgeSecs, dropped, deadLetters, lastLoss } = isObject(spool) ? spool : ({} as JsonObject);
  const { hostName = null, iothubName = null } = isObject(hub) ? hub : {};
  return {
    gateway,
    state: state === 'online' || state === 'offline' ? state : 'unknown',
    since: time(since),
    version: text(version),
    backlog: { pending: number(pending), oldestAgeSecs: number(oldestAgeSecs) },
    dropped: isObject(dropped)
      ? Object.fromEntries(Object.entries(dropped).filter((each): each is [string, number] => number(each[1]) !== null))
      : {},
    deadLetters: number(deadLetters),
    lastLoss: isObject(lastLoss)
      ? {
          at: time(lastLoss['at']),
          reason: text(lastLoss['reason']) ?? 'unknown',
          count: number(lastLoss['count']) ?? 0,
        }
      : null,
    children: number(children),
    hub: typeof hostName === 'string' ? { hostName, iothubName: text(iothubName) } : null,
  };
}

/** The JSON object in a body; one with nothing in it where there is none. */
export function objectIn(body: Buffer | undefined): JsonObject {
  try {
    const value = JSON.parse(body?.toString('utf8') ?? '') as unknown;
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function time(value: unknown): string | null {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value)) ? value : null;
}
