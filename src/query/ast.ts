import type { Offset } from './problem.ts';
import type { Value } from './value.ts';

/*
 * What the parser makes of a query's text. Names are kept as they were spelled (they compare without case); names of
 * functions are in lower case, with their prefix ("system.timestamp"). `at` is where a part begins in the text.
 */

export interface Script {
  /** Schemas by `CREATE TABLE`. */
  readonly tables: readonly Table[];
  /** Steps of `WITH`, in order: each sees the inputs and the steps before it. */
  readonly steps: readonly Step[];
  /** The selects that make output; at least one. */
  readonly selects: readonly Query[];
}

export interface Table {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: TypeName; readonly at: Offset }[];
  readonly at: Offset;
}

export interface Step {
  readonly name: string;
  readonly query: Query;
  readonly at: Offset;
}

/** One select, or several joined by UNION; they write one output. */
export interface Query {
  /** `output` when nothing was said; null in a step. */
  readonly into: string | null;
  readonly selects: readonly Select[];
  readonly at: Offset;
}

export interface Select {
  readonly items: readonly Item[];
  readonly from: Source;
  readonly joins: readonly Join[];
  readonly applies: readonly Apply[];
  readonly where: Expression | null;
  /** Column expressions of GROUP BY; `window` beside them. Null when there is no GROUP BY. */
  readonly groupBy: readonly Expression[] | null;
  /** The windows of GROUP BY: none, one, or several by `Windows(...)`. `System.Timestamp()` alone is a snapshot. */
  readonly windows: readonly Window[];
  readonly having: Expression | null;
  readonly at: Offset;
}

export type Item =
  /** `*`, `alias.*`, `record.path.*`: all fields of what the path leads to; an empty path is everything. */
  | { readonly kind: 'all'; readonly path: readonly string[]; readonly at: Offset }
  /** `name` as it will stand in the output: alias, last part of the path, or the function's name in lower case. */
  | { readonly kind: 'value'; readonly name: string; readonly expression: Expression; readonly at: Offset };

/** An input or a step, by the name that the rest of the select knows it by. */
export interface Source {
  readonly name: string;
  /** The alias, or the name itself. */
  readonly alias: string;
  readonly timestampBy: Expression | null;
  /** Keys of `TIMESTAMP BY ... OVER`. */
  readonly over: readonly Expression[];
  readonly partitionBy: Expression | null;
  readonly at: Offset;
}

export interface Join {
  readonly kind: 'inner' | 'left';
  readonly source: Source;
  readonly on: Expression;
  readonly at: Offset;
}

/** `CROSS APPLY` or `OUTER APPLY` of an array's elements or a record's properties. */
export interface Apply {
  readonly kind: 'cross' | 'outer';
  readonly function: 'getarrayelements' | 'getrecordproperties';
  readonly argument: Expression;
  readonly alias: string;
  readonly at: Offset;
}

/** A length of time as it was written: whole microseconds, positive for sizes. Years, quarters and months are not among the units. */
export interface Duration {
  readonly micros: number;
  readonly at: Offset;
}

export type Window = {
  /** Its id by `Window('id', ...)`; null without one. */
  readonly id: string | null;
  readonly at: Offset;
} & (
  | { readonly kind: 'tumbling'; readonly size: Duration; readonly offset: Duration | null }
  | { readonly kind: 'hopping'; readonly size: Duration; readonly hop: Duration; readonly offset: Duration | null }
  | { readonly kind: 'sliding'; readonly size: Duration }
  | {
      readonly kind: 'session';
      readonly timeout: Duration;
      readonly max: Duration;
      readonly partitionBy: readonly Expression[];
    }
  | { readonly kind: 'snapshot' }
);

export type TypeName = 'bigint' | 'float' | 'nvarchar(max)' | 'datetime' | 'bit' | 'record' | 'array';

export type UnaryOperator = '-' | '+' | '~' | 'not';
export type BinaryOperator =
  | ('+' | '-' | '*' | '/' | '%')
  | ('&' | '|' | '^')
  | ('=' | '<>' | '<' | '<=' | '>' | '>=')
  | ('and' | 'or');

export type Expression = { readonly at: Offset } & (
  | { readonly kind: 'literal'; readonly value: Value }
  /** A path of names: the first may be a source's alias, and otherwise is a field. */
  | { readonly kind: 'field'; readonly path: readonly string[] }
  | { readonly kind: 'unary'; readonly operator: UnaryOperator; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: 'like'; readonly operand: Expression; readonly pattern: Expression; readonly negated: boolean }
  | {
      readonly kind: 'between';
      readonly operand: Expression;
      readonly low: Expression;
      readonly high: Expression;
      readonly negated: boolean;
    }
  | {
      readonly kind: 'in';
      readonly operand: Expression;
      readonly list: readonly Expression[];
      readonly negated: boolean;
    }
  | { readonly kind: 'is null'; readonly operand: Expression; readonly negated: boolean }
  | {
      readonly kind: 'case';
      /** Of a simple CASE. */
      readonly operand: Expression | null;
      readonly branches: readonly { readonly when: Expression; readonly then: Expression }[];
      readonly otherwise: Expression | null;
    }
  | { readonly kind: 'cast'; readonly operand: Expression; readonly type: TypeName; readonly safe: boolean }
  | {
      readonly kind: 'call';
      readonly name: string;
      /** Units of date functions are literals of text among them, in their full name ("second"). */
      readonly args: readonly Expression[];
      /** `COUNT(*)`, `LAG(*)`. */
      readonly star: boolean;
      readonly distinct: boolean;
      readonly over: Over | null;
    }
  /** `System.Window().Id`. */
  | { readonly kind: 'window id' }
);

export interface Over {
  readonly partitionBy: readonly Expression[];
  readonly orderBy: readonly { readonly expression: Expression; readonly descending: boolean }[];
  readonly limit: Duration | null;
  readonly when: Expression | null;
  readonly at: Offset;
}
