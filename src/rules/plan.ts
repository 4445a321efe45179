import type { Join, Query, Script, Select, Source } from '../query/ast.ts';
import { compile, condition, type Scope } from '../query/compile.ts';
import { timedSource } from '../query/inputs.ts';
import { pathReader } from '../query/field.ts';
import { QueryProblem } from '../query/problem.ts';
import type { Fields, Value } from '../query/value.ts';
import type { Account } from './account.ts';
import { Analytic, sourceOfCall, type Numbered } from './analytic.ts';
import { separate } from './analytic-plan.ts';
import { Applies, appliedAs, planApply } from './apply.ts';
import { columns } from './columns.ts';
import { FanOut, type Sink } from './fan-out.ts';
import { planGrouping } from './grouped-plan.ts';
import { firstSource, planReferenceJoin, planStreamJoin } from './join-plan.ts';
import { StreamJoin } from './join.ts';
import { Merge } from './merge.ts';
import { Outlet, type Emitted } from './outlet.ts';
import type { Parts, Remembering } from './pipeline.ts';
import { Projection } from './projection.ts';
import { ReferenceIndex } from './reference-index.ts';
import { ReferenceJoin, type ReferencePlan } from './reference-join.ts';
import type { ReferenceTable } from './reference-table.ts';
import type { Operator, Row } from './row.ts';
import { rowScope, type Named } from './scope.ts';
import { Timeline, type Policies } from './timeline.ts';

/** What a select reads from: an input, or a step of WITH. */
interface Stream {
  readonly fanOut: FanOut;
  /** The inputs that its rows come from in the end. */
  readonly origins: ReadonlySet<string>;
}

/** Reference tables by the names that queries know them by. */
export type References = Readonly<Record<string, ReferenceTable>>;

/** What is the same for all keys of `TIMESTAMP BY .. OVER`. */
export interface PlanParts {
  readonly script: Script;
  readonly policies: Policies;
  readonly references: References;
  readonly account: Account;
  /** Tables as joins find their rows: once for all keys. */
  readonly indexes: Map<Join, ReferenceIndex>;
}

/** Builds the parts of a query and connects them: once, or for each key of `TIMESTAMP BY .. OVER`. */
export class Plan {
  readonly #script: Script;
  readonly #policies: Policies;
  readonly #references: References;
  readonly #account: Account;
  readonly #indexes: Map<Join, ReferenceIndex>;
  readonly #key: number | null;
  /** By name, in lower case. */
  readonly #streams = new Map<string, Stream>();
  readonly #timelines = new Map<string, Timeline>();
  readonly #remembering: Remembering[] = [];
  readonly #out: Emitted[] = [];

  /** `key`: the number of the key of `TIMESTAMP BY .. OVER`; null without it. */
  constructor({ script, policies, references, account, indexes }: PlanParts, key: number | null) {
    this.#script = script;
    this.#policies = policies;
    this.#references = references;
    this.#account = account;
    this.#indexes = indexes;
    this.#key = key;
  }

  /** Throws a {@link QueryProblem} for what cannot run. */
  build(): Parts {
    for (const { name, query } of this.#script.steps) {
      const fanOut = new FanOut();
      const origins = new Set(originsOf(query, this.#streams));
      this.#step(query, fanOut);
      this.#streams.set(name.toLowerCase(), { fanOut, origins });
    }
    this.#outputs();
    return { timelines: this.#timelines, remembering: this.#remembering, out: this.#out };
  }

  #step(query: Query, fanOut: FanOut): void {
    if (query.selects.length === 1) {
      this.#select(query.selects[0]!, fanOut);
      return;
    }
    const sources = query.selects.map((select) =>
      [...originsOf({ ...query, selects: [select] }, this.#streams)].join('\n'),
    );
    const sameSource = sources.every((source) => source === sources[0] && !source.includes('\n'));
    const merge = new Merge(query.selects.length, sameSource, fanOut, this.#account);
    this.#remembering.push(merge);
    for (const [number, select] of query.selects.entries()) this.#select(select, merge.port(number));
  }

  /** The selects that make output, each with numbers of its own among those that write the same one. */
  #outputs(): void {
    const all = this.#script.selects.flatMap(({ into, selects }) =>
      selects.map((select) => ({ output: into!, select })),
    );
    for (const [order, { output, select }] of all.entries()) {
      const sharing = all.filter((other) => other.output.toLowerCase() === output.toLowerCase());
      const first = sharing.findIndex((other) => other.select === select);
      const place = { first, stride: sharing.length, key: this.#key };
      const outlet = new Outlet(sharing[0]!.output, order, place, this.#out);
      this.#remembering.push(outlet);
      this.#select(select, outlet);
    }
  }

  /** From its end to its beginning, since each part is told when it is made where its rows go. */
  #select(written: Select, sink: Sink): void {
    const { select, calls } = separate(written);
    const { from, joins, applies } = select;
    const streams = [from, ...joins.map(({ source }) => source)];
    const sources: Named[] = [...streams.map(namedOf), ...applies.map(appliedAs)];
    let next = this.#last(select, sources, rowScope(sources), sink);
    if (applies.length > 0) {
      const plans = applies.map((apply, index) => planApply(apply, rowScope(sources.slice(0, streams.length + index))));
      next = new Applies(plans, next, this.#account);
    }
    const lookingBack = calls.map((numbered) => ({ numbered, source: sourceOfCall(numbered.call, sources) }));
    const read = (number: number, reader: Operator): void => {
      const own = lookingBack.filter(({ source }) => source === number).map(({ numbered }) => numbered);
      this.#read(streams[number]!, own, calls.length, reader);
    };

    let left = firstSource({ alias: from.alias, timed: true });
    const joined = joins.map((join, index) => {
      const scopes = { pair: rowScope(sources.slice(0, index + 2)), right: rowScope([sources[index + 1]!]) };
      const table = this.#table(join.source);
      const planned =
        table === null
          ? { table, ...planStreamJoin(join, left, scopes) }
          : { table, ...planReferenceJoin(join, left, scopes) };
      left = planned.joined;
      return planned;
    });
    for (let index = joins.length - 1; index >= 0; index--) {
      const planned = joined[index]!;
      if (planned.table !== null) {
        const indexed = this.#indexed(joins[index]!, planned.table, planned.plan);
        next = new ReferenceJoin(planned.plan, indexed, next, this.#account);
        continue;
      }
      const join = new StreamJoin(planned.plan, next, this.#account);
      this.#remembering.push(join);
      read(index + 1, join.right);
      next = join.left;
    }
    read(0, next);
  }

  /** Connects a reader to a source, through the analytic functions over it. */
  #read(source: Source, calls: readonly Numbered[], count: number, reader: Operator): void {
    let first = reader;
    if (count > 0) {
      const analytic = new Analytic(calls, count, rowScope([namedOf(source)]), reader, this.#account);
      this.#remembering.push(analytic);
      first = analytic;
    }
    this.#stream(source).fanOut.to(first);
  }

  #indexed(join: Join, table: ReferenceTable, plan: ReferencePlan): ReferenceIndex {
    let index = this.#indexes.get(join);
    if (index === undefined) this.#indexes.set(join, (index = new ReferenceIndex(table, plan, this.#account)));
    return index;
  }

  /** The reference table of this name; null when it is a stream. */
  #table({ name }: Source): ReferenceTable | null {
    const found = Object.keys(this.#references).find((known) => known.toLowerCase() === name.toLowerCase());
    return found === undefined ? null : this.#references[found]!;
  }

  /** What becomes of a row when its sources are together. */
  #last(select: Select, sources: readonly Named[], scope: Scope<Row>, sink: Sink): Operator {
    if (select.windows.length > 0) {
      const grouping = planGrouping(select, scope, sources, sink, this.#account);
      this.#remembering.push(grouping);
      return grouping;
    }
    // Without groups HAVING is another WHERE.
    const both = select.where !== null && select.having !== null;
    const tested = both
      ? ({ kind: 'binary', operator: 'and', left: select.where, right: select.having, at: select.having.at } as const)
      : (select.where ?? select.having);
    const made = columns(select.items, scope, ({ path, at }) => {
      if (path.length === 0) return sources.map((_, index) => (row: Row) => row.sources[index] as Value);
      const alias = sources.findIndex((source) => source.alias.toLowerCase() === path[0]!.toLowerCase());
      if (alias < 0) return [scope.field(path, at)];
      const read = pathReader(path.slice(1));
      return [(row) => read(row.sources[alias] as Value)];
    });
    return new Projection(tested && condition(tested, scope), made, sink, this.#account);
  }

  /** A step, or the one timeline of an input, which is made when it is first read. */
  #stream(source: Source): Stream {
    const name = source.name.toLowerCase();
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    if (this.#table(source) !== null) {
      throw new QueryProblem(
        source.at,
        `${source.name} is a reference table`,
        'read a stream, and JOIN the table to it',
      );
    }
    const stream = { fanOut: new FanOut(), origins: new Set([name]) };
    const { timestampBy, alias } = timedSource(this.#script, name);
    const timestamp = timestampBy && compile(timestampBy, eventScope(alias));
    this.#streams.set(name, stream);
    this.#timelines.set(name, new Timeline(this.#policies, timestamp, stream.fanOut, this.#account));
    return stream;
  }
}

function originsOf(query: Query, streams: ReadonlyMap<string, Stream>): Set<string> {
  const names = query.selects.flatMap(({ from, joins }) => [from, ...joins.map(({ source }) => source)]);
  return new Set(names.flatMap(({ name }) => [...(streams.get(name.toLowerCase())?.origins ?? [name.toLowerCase()])]));
}

function namedOf({ name, alias }: Source): Named {
  return { alias, given: alias !== name, applied: false };
}

/** What expressions mean that are worked out from an event before it has a time. */
export function eventScope(alias: string): Scope<Fields> {
  return {
    field: (path) => {
      const named = path.length > 1 && path[0]!.toLowerCase() === alias.toLowerCase();
      return pathReader(named ? path.slice(1) : path);
    },
    call: (call) => {
      if (call.kind !== 'window id' && call.name !== 'system.timestamp') return null;
      throw new QueryProblem(call.at, 'an event has no time yet where TIMESTAMP BY is worked out');
    },
  };
}
