import type { CommandsStatus } from '../above/liaison.ts';
import type { BelowStatus } from '../above/relay.ts';
import type { SettingsReport } from '../above/settings.ts';
import type { HubStatus } from '../hub/front.ts';
import type { BoardStatus } from './board-health.ts';
import type { SyncStatus } from '../registry/sync.ts';
import type { ModuleShown } from '../rules/modules.ts';
import type { SpoolSnapshot } from '../spool/snapshot.ts';
import type { SpoolStats } from '../spool/stats.ts';
import type { SafeMode } from './start-record.ts';

/** A child as the gateway knows it; times are wall milliseconds. */
export interface Child {
  readonly id: string;
  readonly type: 'child';
  readonly kind: string;
  readonly state: string;
  readonly since: number;
  readonly readings: number;
  readonly malformed: number;
  readonly restarts: number;
  readonly lastReadingAt: number | null;
  /** Of children that connect: when they were last heard. */
  readonly lastSeenAt?: number | null;
  readonly lastError: string | null;
  readonly retryInMs: number | null;
}

/** The gateway as it knows itself; `upstream.since` is wall milliseconds. */
export interface Status {
  readonly gateway: string;
  readonly version: string;
  readonly profile: string;
  /** Null in an ordinary start. */
  readonly safeMode: SafeMode | null;
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
    readonly waitsForClock: boolean;
    readonly waitsForRate: boolean;
    readonly stalledSecs: number | null;
    readonly lastError: string | null;
    readonly retryInMs: number | null;
  } | null;
  /** What came from above and lies over the configuration's file. */
  readonly settings: SettingsReport;
  /** Null without an upstream. */
  readonly commands: CommandsStatus | null;
  readonly spool: SpoolSnapshot;
  readonly ledger: SpoolStats['ledger'];
  readonly children: { readonly total: number; readonly running: number; readonly failing: readonly string[] };
  /** The last registry document that was taken; null: none ever was, or nothing has asked for the registry since the start. */
  readonly registry: SyncStatus | null;
  /** Null without a hub, and while nobody can connect. */
  readonly hub: HubStatus | null;
  /** Why nobody can connect, where there is a hub; it is tried again. */
  readonly hubFault: string | null;
  /** Gateways below. */
  readonly below: BelowStatus;
  readonly modules: readonly ModuleShown[];
  readonly memory: { readonly rssBytes: number };
  /** Of wired children that read at intervals: when each gave its last good reading, monotonic ms; null: none yet. */
  readonly lastReadings: Readonly<Record<string, number | null>>;
  /** The board: what it says of itself, and what is beyond its limit. */
  readonly board: BoardStatus;
}

/** What `status` answers. */
export type GatewayStatus = Omit<Status, 'upstream' | 'modules' | 'board' | 'lastReadings'> & {
  readonly pid: number;
  readonly upstream: TimeAsText<NonNullable<Status['upstream']>, 'since'> | null;
  readonly modules: readonly ListedModule[];
  readonly board: Omit<BoardStatus, 'over'> & {
    readonly over: readonly TimeAsText<BoardStatus['over'][number], 'since'>[];
  };
};

/** A module as `status` and `list` answer it. */
export type ListedModule = TimeAsText<ModuleShown, 'lastOutput'> & { readonly type: 'module' };

/** What `list` answers, one by one: children, then modules. */
export type Listed = ListedChild | ListedModule;
export type ListedChild = TimeAsText<Omit<Child, 'lastSeenAt'>, 'since' | 'lastReadingAt'> & {
  readonly lastSeenAt?: string | null;
};

type TimeAsText<T, Keys extends keyof T> = Omit<T, Keys> & {
  readonly [Key in Keys]: T[Key] extends number ? string : string | null;
};

export function statusOf({ upstream, modules, board, lastReadings: _, ...status }: Status): GatewayStatus {
  return {
    pid: process.pid,
    ...status,
    upstream: upstream === null ? null : { ...upstream, since: timeText(upstream.since) },
    modules: modules.map(listedModule),
    board: { ...board, over: board.over.map((each) => ({ ...each, since: timeText(each.since) })) },
  };
}

export function listedModule({ lastOutput, ...module }: ModuleShown): ListedModule {
  return { type: 'module', ...module, lastOutput: lastOutput === null ? null : timeText(lastOutput) };
}

export function listed({ since, lastReadingAt, lastSeenAt, ...child }: Child): ListedChild {
  return {
    ...child,
    since: timeText(since),
    lastReadingAt: lastReadingAt === null ? null : timeText(lastReadingAt),
    ...(lastSeenAt === undefined ? {} : { lastSeenAt: lastSeenAt === null ? null : timeText(lastSeenAt) }),
  };
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
