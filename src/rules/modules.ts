import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Order } from '../commands/orders.ts';
import type { ModuleConfig } from '../config/schema.ts';
import type { Message } from '../message/message.ts';
import { parseBody, printBody } from '../query/body-json.ts';
import { decodeState, encodeState } from '../query/state.ts';
import { isRecord, type Fields, ValueError } from '../query/value.ts';
import { Engine, type OutputEvent } from './engine.ts';
import { RulesHost, type ModuleStatus } from './host.ts';
import type { KeptRecord, RecordChange } from './keeper.ts';
import { engineOptions } from './module-query.ts';
import { ReferenceFile } from './reference-file.ts';
import type { Unset } from './steady-clock.ts';

/** What a module puts out, as a message's content. */
export interface PutOut {
  readonly module: string;
  readonly output: string;
  readonly body: Buffer;
  readonly contentType: string;
  readonly contentEncoding: string;
  /** The end of the window, or the time of the row, ms since 1970; absent where the clock that it was read from had not been set. */
  readonly eventTime?: number;
  /** That time by the monotonic clock, ms; only where it is known no better. */
  readonly measuredAt?: number;
  /** Of the message that brought it about; 0 when time did. */
  readonly hops: number;
}

export interface ModulesOptions {
  readonly modules: readonly ModuleConfig[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly quotaBytes: () => number;
  /** Has what a module puts out accepted, and fed to other modules, before it returns. */
  readonly put: (out: PutOut) => void;
  /** Has a child do something. The order's id is `module/window/n`, with the output behind the module where there are several. */
  readonly order: (order: Order) => void;
  /** See {@link RulesHost}. */
  readonly touch: () => void;
}

/** A module as `status` shows it. */
export interface ModuleShown extends ModuleStatus {
  /** What a body of its output told nobody, since it names no command. */
  readonly wordless: number;
  /** What is wrong with the files of its reference tables. */
  readonly tables: readonly string[];
  /** What was wrong with the first event that was dropped; null when none was. */
  readonly firstFault: string | null;
}

/** The modules of a configuration: their queries run, their tables are read, and what they put out goes where it should. */
export class Modules {
  readonly #options: ModulesOptions;
  readonly #byId: ReadonlyMap<string, ModuleConfig>;
  readonly #engines = new Map<string, Engine>();
  readonly #tables = new Map<string, readonly ReferenceFile[]>();
  readonly #wordless = new Map<string, number>();
  readonly #host: RulesHost<OutputEvent>;

  constructor(options: ModulesOptions) {
    this.#options = options;
    const { modules, clock, log, quotaBytes, touch } = options;
    this.#byId = new Map(modules.map((module) => [module.id, module]));
    this.#host = new RulesHost({
      modules: modules.map((module) => {
        const references = this.#tablesOf(module);
        return {
          id: module.id,
          hash: hashOf(module),
          make: () => {
            const engine = Engine.compile(engineOptions(module, references));
            this.#engines.set(module.id, engine);
            return engine;
          },
        };
      }),
      clock,
      log,
      quotaBytes,
      touch,
      fieldsOf,
      emit: (module, event, hops, unset) => this.#emit(module, event, hops, unset),
      encodeState,
      decodeState,
    });
  }

  /** Reads the tables, and goes on where the last run was. Nothing may be fed before it resolves. */
  async start(records: readonly KeptRecord[]): Promise<void> {
    await Promise.all([...this.#tables.values()].flat().map((table) => table.start()));
    this.#host.start(records);
  }

  /** What is remembered goes to the medium whole with the next commit. */
  async stop(): Promise<void> {
    this.#host.stop();
    await Promise.all([...this.#tables.values()].flat().map((table) => table.stop()));
  }

  has(module: string): boolean {
    return this.#byId.has(module);
  }

  /** See {@link RulesHost.feed}. */
  feed(message: Message, targets: readonly { readonly module: string; readonly input: string }[]): void {
    this.#host.feed(message, targets);
  }

  /** As a companion of the spool. */
  get bytes(): number {
    return this.#host.bytes;
  }

  /** As a companion of the spool. */
  cut(): RecordChange[] {
    return this.#host.cut();
  }

  status(): ModuleShown[] {
    return this.#host.status().map((module) => ({
      ...module,
      wordless: this.#wordless.get(module.id) ?? 0,
      firstFault: this.#engines.get(module.id)?.firstFault ?? null,
      tables: (this.#tables.get(module.id) ?? []).flatMap(({ problem }) => problem ?? []),
    }));
  }

  #tablesOf(module: ModuleConfig): Record<string, ReferenceFile> {
    const { clock, log } = this.#options;
    const tables = Object.entries(module.reference).map(([name, path]) => {
      const onProblem = (problem: string | null) => {
        if (problem === null) log.info({ module: module.id, table: name }, 'the table can be read again');
        else log.error({ module: module.id, table: name }, `a table cannot be read, its last rows stay: ${problem}`);
      };
      return [name, new ReferenceFile({ path, clock, onProblem })] as const;
    });
    this.#tables.set(
      module.id,
      tables.map(([, file]) => file),
    );
    return Object.fromEntries(tables);
  }

  #emit(id: string, event: OutputEvent, hops: number, unset: Unset | null): void {
    const { put, order } = this.#options;
    const engine = this.#engines.get(id)!;
    const body = printBody(event.body);
    put({
      module: id,
      output: event.output,
      body: Buffer.from(body),
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      ...timeOf(event, engine, unset),
      hops,
    });
    const { outputs } = this.#byId.get(id)!;
    const actions = Object.entries(outputs).find(([output]) => output.toLowerCase() === event.output.toLowerCase());
    if (actions === undefined) return;
    const payload = JSON.parse(body) as { readonly command?: unknown };
    const command = payload.command;
    const at = engine.outputs.length === 1 ? id : `${id}/${event.output}`;
    for (const { command: child } of actions[1]) {
      if (typeof command === 'string') order({ child, command, payload, id: `${at}/${event.window}/${event.n}` });
      else this.#wordless.set(id, (this.#wordless.get(id) ?? 0) + 1);
    }
  }
}

/**
 * When it happened. What a window or row has for a time was read from our clock, unless the query's events say theirs: where
 * nobody had set the clock, it is the time by the monotonic clock that can be put right with that of acceptance.
 */
function timeOf(
  { time }: OutputEvent,
  engine: Engine,
  unset: Unset | null,
): Pick<PutOut, 'eventTime'> | Pick<PutOut, 'measuredAt'> {
  if (unset === null || time.ms * 1000 >= unset.until) return { eventTime: time.ms };
  if (engine.inputs.some((input) => engine.timestamped(input))) return { eventTime: time.ms };
  return { measuredAt: time.ms - unset.anchor / 1000 };
}

/** What a query reads of a message. Throws ValueError when its body is no JSON object. */
function fieldsOf(message: Message): Fields {
  const value = parseBody(message.body);
  if (!isRecord(value)) throw new ValueError('the body is no JSON object');
  return value;
}

/** Names all that decides what a module remembers. */
function hashOf({ query, outOfOrder, lateArrival, onLate, reference }: ModuleConfig): string {
  const all = JSON.stringify([query, outOfOrder, lateArrival, onLate, Object.keys(reference)]);
  return createHash('sha256').update(all).digest('hex').slice(0, 32);
}
