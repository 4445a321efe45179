import type { Offset } from '../query/problem.ts';

/*
 * What the parser makes of a route's text. `at` and `end` are where a part stands in it.
 */

/** What a condition works with. Objects and arrays come from bodies only. */
export type RouteValue = undefined | null | boolean | number | string | object;

/** Where messages of a route come from. */
export interface RouteSource {
  /** As it was written. */
  readonly text: string;
  /** Lower case, ends with `/`: every source that begins so is meant. */
  readonly prefix: string;
  readonly at: Offset;
}

export type RouteSink =
  | { readonly kind: 'upstream' }
  | { readonly kind: 'module'; readonly module: string; readonly input: string }
  | { readonly kind: 'child'; readonly child: string; readonly input: string };

export interface RouteText {
  readonly source: RouteSource;
  /** Null: there is no WHERE. */
  readonly condition: Condition | null;
  readonly sink: RouteSink;
  /** Where the sink, or the text within `BrokeredEndpoint`, begins. */
  readonly sinkAt: Offset;
}

export type ChainOperator =
  | ('??' | 'or' | 'and' | 'in')
  | ('=' | '!=' | '<' | '<=' | '>' | '>=')
  | ('+' | '-' | '||' | '*' | '/' | '%');

/** A step of a `$body` path: a property's name, an array's index, or `*` for the only one that there is. */
export type BodyPath = readonly (string | number)[];

export type Condition = { readonly at: Offset; readonly end: Offset } & (
  | { readonly kind: 'literal'; readonly value: undefined | null | boolean | number | string }
  /** An application property. */
  | { readonly kind: 'property'; readonly name: string }
  | {
      readonly kind: 'system';
      /** Without `$`. */
      readonly name: string;
      /** Of a reference to the body; empty for the body itself. */
      readonly body: BodyPath | null;
      /** It may also be an application property whose name begins with `$`. */
      readonly orProperty: boolean;
    }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Condition[] }
  | { readonly kind: 'not' | 'negate'; readonly operand: Condition }
  /** Operators of one rank, from left to right. Flat, so that a long one is not deep. */
  | { readonly kind: 'chain'; readonly first: Condition; readonly rest: readonly Link[] }
  /** Only at the right of IN. */
  | { readonly kind: 'list'; readonly items: readonly Condition[] }
);

export interface Link {
  readonly operator: ChainOperator;
  readonly operatorAt: Offset;
  readonly operand: Condition;
}
