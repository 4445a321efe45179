import { QueryProblem, type Offset } from './problem.ts';
import { ValueError, type Value } from './value.ts';

/** An expression, made ready to be worked out for row after row. Throws ValueError when it has no value for that row. */
export type Evaluate<R> = (row: R) => Value;

/** A part of an expression that is ready. */
export interface Operand<R> {
  readonly at: Offset;
  readonly evaluate: Evaluate<R>;
  /** Its value when that is the same for every row; undefined when it is not. */
  readonly constant: Value | undefined;
}

export function constantOperand<R>(at: Offset, value: Value): Operand<R> {
  return { at, evaluate: () => value, constant: value };
}

/** Made of parts: constant when they all are, and then worked out now, so that what is wrong with it is said when the query is loaded. */
export function operandOf<R>(at: Offset, parts: readonly Operand<R>[], evaluate: Evaluate<R>): Operand<R> {
  if (!parts.every((part) => part.constant !== undefined)) return { at, evaluate, constant: undefined };
  // What is made of constants alone does not look at the row.
  return constantOperand(
    at,
    located(at, () => evaluate(undefined as R)),
  );
}

/** What `check` gives; a ValueError in it becomes a problem of the query, at that place. */
export function located<T>(at: Offset, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof ValueError) throw new QueryProblem(at, error.message);
    throw error;
  }
}
