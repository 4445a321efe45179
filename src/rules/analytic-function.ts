import type { Expression, Over } from '../query/ast.ts';
import { compile, condition, type Evaluate, type Scope } from '../query/compile.ts';
import type { Value } from '../query/value.ts';
import type { Micros, Row, Stateful } from './row.ts';

export type Call = Expression & { readonly kind: 'call' };

/** What would have to be remembered. */
export interface Cost {
  readonly groups: number;
  readonly bytes: number;
}

/**
 * A function of an event and of those before it. An event is looked at by all functions of its select before one of them changes
 * anything: an event that one of them cannot work with is for none of them.
 */
export interface AnalyticFunction extends Stateful {
  /** Works out what it needs of an event. Throws a ValueError, and has changed nothing then. */
  look(row: Row): Cost;
  /** The value for the event that was looked at, which is remembered now. Throws a ValueError when there is none; it is remembered all the same. */
  take(): Value;
  /** No event up to this moment comes any more. */
  advance(to: Micros): void;
}

/** PARTITION BY and WHEN of an OVER, as functions of a row. */
export interface OverRow {
  readonly keys: (row: Row) => readonly Value[];
  readonly counts: (row: Row) => boolean;
}

export function compileOver(over: Over | null, scope: Scope<Row>): OverRow {
  const keys: readonly Evaluate<Row>[] = (over?.partitionBy ?? []).map((key) => compile(key, scope));
  const when = over?.when ?? null;
  return {
    keys: (row) => keys.map((key) => key(row)),
    counts: when === null ? () => true : condition(when, scope),
  };
}

/** How far back a function looks; the parser has seen to it that it says so. */
export function limitOf(call: Call): Micros {
  const limit = call.over?.limit ?? null;
  if (limit === null) throw new Error(`${call.name} without LIMIT DURATION`);
  return limit.micros;
}

/** The event itself, of the one source that an analytic function sees. */
export function eventOf(row: Row): Value {
  return row.sources[0] as Value;
}
