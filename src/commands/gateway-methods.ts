import * as z from 'zod';
import type { Clock } from '../clock/clock.ts';
import { LOG_LEVELS, type LogLevelWord } from '../config/settings-from-above.ts';
import { choice, integer, misfit, show } from '../config/values.ts';
import { nearest } from '../query/nearest.ts';
import { PAYLOAD_BYTES_MAX, RESPONSE_TIMEOUT_SECS_MAX } from './commands.ts';
import type { CommandResult, Target } from './commands.ts';

/** Lines that `getLogs` brings when it is not told how many, and the most. */
const TAIL = 100;
const TAIL_MAX = 2000;
/** What stands around the lines of an answer, bytes. */
const AROUND_LINES_BYTES = 64;
/** How long the process goes on after it was told to restart, ms: the answer must be on its way by then. */
const RESTART_AFTER_MS = 250;
/** The program's own names in IoT Edge: what is said to them is said to us. */
const EDGE_NAMES = ['edgeAgent', 'edgeHub', '$edgeAgent', '$edgeHub'];

/** A line of the log; `time` is ms since 1970. */
export interface LoggedLine {
  readonly time: number;
  readonly level: string;
  readonly child?: string;
}

/** What the process can do for the gateway; each left out where it cannot. */
export interface ProcessServices {
  /** The last `count` lines of the log, oldest first; of one child if it is named. */
  readonly logs?: (count: number, child?: string) => readonly LoggedLine[];
  /** How much is logged. */
  readonly level?: {
    readonly now: LogLevelWord;
    readonly configured: LogLevelWord;
    /** Until the process ends; null: back to what it would be. */
    ask(level: LogLevelWord | null): void;
    fromAbove(level: LogLevelWord | null): void;
  };
  /** Ends the process so that whoever watches over it starts it again; null: nobody does. */
  readonly endToBeStartedAgain?: (() => void) | null;
  /** Reads the configuration again. Throws when it cannot be used, with all that is wrong with it. */
  readonly reload?: () => unknown;
}

/** The gateway, as its methods ask it. */
interface Itself<Status> {
  status(): Status;
  list(): readonly { readonly id: string; readonly kind: string }[];
  /** Stops and starts a wired child's driver. False when there is none of that name. */
  restart(child: string): Promise<boolean>;
  readonly spoolDesk: { stats(): unknown };
  readonly commands: {
    invoke(id: string, name: string, payload: unknown, timeoutSecs?: number): Promise<CommandResult>;
  };
}

export interface GatewayMethodsOptions<Status> {
  readonly id: string;
  readonly gateway: Itself<Status>;
  readonly clock: Clock;
  readonly process: ProcessServices;
  /** Its status as it is shown, with times as text. */
  readonly statusText: (status: Status) => unknown;
}

interface Method {
  readonly name: string;
  readonly carryOut: (payload: unknown) => CommandResult | Promise<CommandResult>;
}

const ID = misfit('an id', 'for example "press-1"');
const Id = z.string({ error: ID }).min(1, { error: ID });
const Tail = integer(1, TAIL_MAX);
const Level = choice(LOG_LEVELS);

const LOGS = '{"tail": 100, "child": "press-1", "level": "warn"}, each of them optional';
const GetLogs = object({ tail: Tail.default(TAIL), child: Id.exactOptional(), level: Level.exactOptional() }).prefault(
  {},
);
const RESTART = '{"child": "press-1"}, or nothing for the whole gateway';
const Restart = object({ child: Id.exactOptional() }).prefault({});
const SET_LEVEL = '{"level": "debug"}, or {"level": null} for the configured one';
const SetLevel = object({ level: Level.nullable() });
const INVOKE = '{"child": "press-1", "method": "reset", "payload": null, "responseTimeoutSecs": 30}';
const Invoke = object({
  child: Id,
  module: Id.exactOptional(),
  method: Id,
  payload: z.unknown().optional(),
  responseTimeoutSecs: integer(1, RESPONSE_TIMEOUT_SECS_MAX).exactOptional(),
});

/*
 * IoT Edge's names ("Communicate with edgeAgent using built-in direct methods"). Of what they may be given, that is read which has
 * a counterpart here; a level there is syslog's number.
 */
const EDGE_RESTART = '{"id": "press-1"}';
const EdgeRestart = z.looseObject({ id: Id }, { error: misfit('an object') });
const EDGE_LOGS = '{"items": [{"id": "press-1", "filter": {"tail": 100, "loglevel": 4}}]}';
const EdgeItem = z.looseObject({
  id: Id.exactOptional(),
  filter: z.looseObject({ tail: Tail.exactOptional(), loglevel: integer(0, 7).exactOptional() }).exactOptional(),
});
const EdgeLogs = z.looseObject(
  {
    items: z
      .union([z.array(EdgeItem).length(1), EdgeItem], { error: misfit('one item', EDGE_LOGS) })
      .transform((items) => (Array.isArray(items) ? items[0]! : items)),
  },
  { error: misfit('an object') },
);

/**
 * Methods of the gateway itself, by names in any case. Statuses: 400 the payload is wrong, and what would be right; 404 no such
 * method or child, and which there are; 409 it cannot be done now; 501 not in this process.
 */
export class GatewayMethods<Status> implements Target {
  readonly #options: GatewayMethodsOptions<Status>;
  readonly #methods: readonly Method[];

  constructor(options: GatewayMethodsOptions<Status>) {
    this.#options = options;
    const { clock, gateway, statusText } = options;
    this.#methods = [
      method('getLogs', GetLogs, LOGS, (given) => this.#logs(given)),
      method('GetModuleLogs', EdgeLogs, EDGE_LOGS, ({ items: { id, filter } }) =>
        this.#logs({
          tail: filter?.tail ?? TAIL,
          ...(id === undefined || id === '.*' || this.#isOurs(id) ? {} : { child: id }),
          ...(filter?.loglevel === undefined ? {} : { level: levelOfSyslog(filter.loglevel) }),
        }),
      ),
      method('invoke', Invoke, INVOKE, (given) => this.#invoke(given)),
      { name: 'ping', carryOut: () => fine({ wall: new Date(clock.wall()).toISOString() }) },
      { name: 'reload', carryOut: () => this.#reload() },
      method('restart', Restart, RESTART, ({ child }) => this.#restart(child)),
      method('RestartModule', EdgeRestart, EDGE_RESTART, ({ id }) => this.#restart(this.#isOurs(id) ? undefined : id)),
      method('setLogLevel', SetLevel, SET_LEVEL, ({ level }) => this.#setLevel(level)),
      { name: 'spoolStats', carryOut: () => fine(gateway.spoolDesk.stats()) },
      { name: 'status', carryOut: () => fine(statusText(gateway.status())) },
    ];
  }

  // Async, so that what cannot be done is a rejection.
  async command(name: string, payload: unknown): Promise<CommandResult> {
    const meant = this.#methods.find((each) => each.name.toLowerCase() === name.toLowerCase());
    if (meant !== undefined) return meant.carryOut(payload);
    const names = this.#methods.map((each) => each.name);
    const near = nearest(name, names);
    const hint = near === undefined ? '; it has' : `; did you mean ${near}? It has`;
    return wrong(404, `the gateway has no method ${show(name)}${hint} ${names.join(', ')}`);
  }

  #isOurs(id: string): boolean {
    return id === this.#options.id || EDGE_NAMES.includes(id);
  }

  /** Null: there is a child of that name. */
  #stranger(child: string): CommandResult | null {
    const ids = this.#options.gateway.list().map(({ id }) => id);
    if (ids.includes(child)) return null;
    const meant = nearest(child, ids);
    const hint =
      meant === undefined ? `there are ${ids.slice(0, 20).join(', ') || 'none'}` : `did you mean ${show(meant)}?`;
    return wrong(404, `there is no child ${show(child)}; ${hint}`);
  }

  #logs({ tail, child, level }: { tail: number; child?: string; level?: LogLevelWord }): CommandResult {
    const { logs } = this.#options.process;
    if (logs === undefined) return wrong(501, 'this process keeps no log');
    const stranger = child === undefined ? null : this.#stranger(child);
    if (stranger !== null) return stranger;
    const least = level === undefined ? 0 : LOG_LEVELS.indexOf(level);
    // What is above all these, `fatal`, is wanted whatever is asked for.
    const isMeant = (each: LoggedLine) => {
      const rank = LOG_LEVELS.findIndex((word) => word === each.level);
      return rank < 0 || rank >= least;
    };
    const lines = logs(Infinity, child).filter(isMeant).slice(-tail);
    const kept: unknown[] = [];
    let room = PAYLOAD_BYTES_MAX - AROUND_LINES_BYTES;
    for (const { time, ...line } of lines.toReversed()) {
      const shown = { time: new Date(time).toISOString(), ...line };
      room -= Buffer.byteLength(JSON.stringify(shown)) + 1;
      if (room < 0) break;
      kept.push(shown);
    }
    return fine({ lines: kept.toReversed(), truncated: kept.length < lines.length });
  }

  async #restart(child: string | undefined): Promise<CommandResult> {
    const { process: host, gateway, clock } = this.#options;
    if (child !== undefined) {
      const stranger = this.#stranger(child);
      if (stranger !== null) return stranger;
      if (await gateway.restart(child)) return fine({ restarted: 'children', children: [child] });
      return wrong(409, `${show(child)} connects by itself: there is nothing here that could be restarted`);
    }
    const end = host.endToBeStartedAgain ?? null;
    if (end !== null) {
      clock.after(RESTART_AFTER_MS, end);
      return fine({ restarted: 'gateway', pid: process.pid });
    }
    // Nobody would start it again.
    const wired = gateway.list().flatMap(({ id, kind }) => (kind === 'connected' ? [] : [id]));
    await Promise.all(wired.map((id) => gateway.restart(id)));
    return fine({ restarted: 'children', children: wired });
  }

  #setLevel(level: LogLevelWord | null): CommandResult {
    const { level: levels } = this.#options.process;
    if (levels === undefined) return wrong(501, 'this process keeps no log');
    levels.ask(level);
    return fine({ level: levels.now, configured: levels.configured });
  }

  #reload(): CommandResult {
    const { reload } = this.#options.process;
    if (reload === undefined) return wrong(501, 'this gateway has no configuration that could be read again');
    try {
      return fine(reload());
    } catch (error) {
      return wrong(409, (error as Error).message);
    }
  }

  #invoke(given: z.output<typeof Invoke>): CommandResult | Promise<CommandResult> {
    const { id, gateway } = this.#options;
    const { child, module, method: name, payload, responseTimeoutSecs } = given;
    if (child === id) return wrong(400, `${show(child)} is the gateway: its methods are invoked by their own names`);
    return gateway.commands.invoke(
      module === undefined ? child : `${child}/${module}`,
      name,
      payload ?? null,
      responseTimeoutSecs,
    );
  }
}

/** A method that is given something; `right` is an example of it. */
function method<S extends z.ZodType>(
  name: string,
  schema: S,
  right: string,
  carryOut: (given: z.output<S>) => CommandResult | Promise<CommandResult>,
): Method {
  return {
    name,
    carryOut: (payload) => {
      const read = schema.safeParse(payload ?? undefined);
      if (read.success) return carryOut(read.data);
      const problems = read.error.issues.map(({ path, message }) =>
        path.length === 0 ? message : `${path.join('.')}: ${message}`,
      );
      return wrong(400, `${problems.join('; ')} (${name} takes ${right})`);
    },
  };
}

/** An object of these keys and no others. */
function object<const S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  const keys = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return misfit('an object')(issue);
      const strange = (issue.keys as readonly string[])[0]!;
      const meant = nearest(strange, keys);
      return `${show(strange)} is no key of it; ${meant === undefined ? `there are ${keys.join(', ')}` : `did you mean ${show(meant)}?`}`;
    },
  });
}

/** RFC 5424, 6.2.1: 0 is the most important. */
function levelOfSyslog(number: number): LogLevelWord {
  if (number <= 3) return 'error';
  if (number === 4) return 'warn';
  return number <= 6 ? 'info' : 'debug';
}

function fine(payload: unknown): CommandResult {
  return { status: 200, payload };
}

function wrong(status: number, error: string): CommandResult {
  return { status, payload: { error } };
}
