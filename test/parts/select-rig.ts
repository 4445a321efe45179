import type { Select } from '../../src/query/ast.ts';
import { compile, condition, type Evaluate } from '../../src/query/compile.ts';
import { parseScript } from '../../src/query/parser.ts';
import type { Fields, Value } from '../../src/query/value.ts';
import { Account } from '../../src/rules/account.ts';
import { separate } from '../../src/rules/analytic-plan.ts';
import { Analytic, sourceOfCall } from '../../src/rules/analytic.ts';
import { Applies, appliedAs, planApply } from '../../src/rules/apply.ts';
import type { Limits } from '../../src/rules/event.ts';
import { firstSource, planReferenceJoin, planStreamJoin } from '../../src/rules/join-plan.ts';
import { StreamJoin } from '../../src/rules/join.ts';
import { ReferenceIndex } from '../../src/rules/reference-index.ts';
import { ReferenceJoin } from '../../src/rules/reference-join.ts';
import type { ReferenceTable } from '../../src/rules/reference-table.ts';
import type { Held, Operator, Row, Saved, Stateful } from '../../src/rules/row.ts';
import { type Named, rowScope } from '../../src/rules/scope.ts';

const SECOND = 1_000_000;

/** What came out: at which second, and the columns. */
export type Result = readonly [number, Fields];

export interface RigOptions {
  readonly references?: Readonly<Record<string, ReferenceTable>>;
  readonly limits?: Partial<Limits>;
}

/** One select without GROUP BY, connected by hand: what looks back, what joins, what opens, the filter and the list. */
export class SelectRig {
  readonly account: Account;
  readonly results: Result[] = [];
  /** What downstream was told, in seconds; each result must be later than all that was told before it. */
  advanced = -Infinity;
  readonly #entries: { readonly input: string; readonly to: Operator }[] = [];
  readonly #parts: Stateful[] = [];
  readonly #joins: StreamJoin[] = [];

  constructor(text: string, { references = {}, limits = {} }: RigOptions = {}) {
    this.account = new Account(limits);
    const { select, calls } = separate(parseScript(text).selects[0]?.selects[0] as Select);
    const { items, where } = select;
    const streams = [select.from, ...select.joins.map(({ source }) => source)].map(({ alias }): Named => ({
      alias,
      given: true,
      applied: false,
    }));
    const all = [...streams, ...select.applies.map(appliedAs)];
    const scope = rowScope(all);
    const columns = items.map((item) => {
      if (item.kind === 'all') throw new Error('the rig has no *');
      return { name: item.name, value: compile(item.expression, scope) };
    });
    let next = this.#ending(where && condition(where, scope), columns);

    const applied = select.applies.map((apply, index) =>
      planApply(apply, rowScope(all.slice(0, streams.length + index))),
    );
    if (applied.length > 0) next = new Applies(applied, next, this.account);
    const owners = calls.map(({ call }) => sourceOfCall(call, all));
    const looking = (source: number, to: Operator): Operator => {
      const own = calls.filter((_, index) => owners[index] === source);
      if (own.length === 0) return to;
      const analytic = new Analytic(own, calls.length, rowScope([streams[source] as Named]), to, this.account);
      this.#parts.push(analytic);
      return analytic;
    };

    // Plans go forward, since a join knows what was joined before; operators are made from the end.
    let joined = firstSource({ alias: select.from.alias, timed: true });
    const made = select.joins.map((join, index): ((to: Operator) => Operator) => {
      const right = streams[index + 1] as Named;
      const scopes = { pair: rowScope(streams.slice(0, index + 2)), right: rowScope([right]) };
      const table = references[join.source.name];
      if (table !== undefined) {
        const planned = planReferenceJoin(join, joined, scopes);
        joined = planned.joined;
        return (to) =>
          new ReferenceJoin(planned.plan, new ReferenceIndex(table, planned.plan, this.account), to, this.account);
      }
      const planned = planStreamJoin(join, joined, scopes);
      joined = planned.joined;
      return (to) => {
        const operator = new StreamJoin(planned.plan, to, this.account);
        this.#parts.push(operator);
        this.#joins.push(operator);
        this.#entries.push({ input: join.source.name, to: looking(index + 1, operator.right) });
        return operator.left;
      };
    });
    for (const make of made.reverse()) next = make(next);
    this.#entries.push({ input: select.from.name, to: looking(0, next) });
    this.#entries.reverse();
  }

  /** An event at a second: everything before it is known to have come. */
  feed(input: string, second: number, fields: Fields = {}): void {
    const time = Math.round(second * SECOND);
    this.advance(input, (time - 1) / SECOND);
    for (const entry of this.#of(input)) entry.to.row({ time, sources: [fields], analytic: [] });
  }

  advance(input: string, second: number): void {
    for (const entry of this.#of(input)) entry.to.advance(Math.round(second * SECOND));
  }

  /** Nothing more comes from anywhere. */
  end(): readonly Result[] {
    for (const { to } of this.#entries) to.advance(Infinity);
    return this.results;
  }

  /** The second that must be reached before a join has something to give; Infinity when there is nothing. */
  get due(): number {
    return Math.min(Infinity, ...this.#joins.map((join) => join.due)) / SECOND;
  }

  get held(): Held {
    const held = this.#parts.map((part) => part.held);
    const sum = (of: (one: Held) => number): number => held.reduce((total, one) => total + of(one), 0);
    return { windows: sum((one) => one.windows), groups: sum((one) => one.groups), bytes: sum((one) => one.bytes) };
  }

  save(): Saved {
    return this.#parts.map((part) => part.save());
  }

  load(saved: Saved): void {
    const states = saved as readonly Saved[];
    this.#parts.forEach((part, index) => part.load(states[index] as Saved));
  }

  #of(input: string): { readonly to: Operator }[] {
    return this.#entries.filter((entry) => entry.input === input);
  }

  #ending(
    where: ((row: Row) => boolean) | null,
    columns: readonly { readonly name: string; readonly value: Evaluate<Row> }[],
  ): Operator {
    return {
      row: (row) => {
        if (row.time / SECOND <= this.advanced) throw new Error(`a row at ${row.time / SECOND} after ${this.advanced}`);
        const last = this.results.at(-1)?.[0] ?? -Infinity;
        if (row.time / SECOND < last) throw new Error(`a row at ${row.time / SECOND} after one at ${last}`);
        if (where !== null && !where(row)) return;
        const body: Record<string, Value> = {};
        for (const { name, value } of columns) body[name] = value(row);
        this.results.push([row.time / SECOND, body]);
      },
      advance: (to) => {
        this.advanced = Math.max(this.advanced, to / SECOND);
      },
    };
  }
}
