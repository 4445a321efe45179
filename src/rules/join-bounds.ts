import type { BinaryOperator, Expression, Join } from '../query/ast.ts';
import { compile, isConstant } from '../query/compile.ts';
import { visit } from '../query/parts.ts';
import { QueryProblem } from '../query/problem.ts';
import { DURATION_MAX_MICROS } from '../query/units.ts';
import { Float, type Value } from '../query/value.ts';
import type { TimeBound } from './join.ts';
import type { Micros } from './row.ts';

/** Lengths of what DATEDIFF counts in. A month has none, and is beyond seven days. */
const UNIT_MICROS: Readonly<Record<string, Micros>> = {
  microsecond: 1,
  millisecond: 1_000,
  second: 1_000_000,
  minute: 60_000_000,
  hour: 3_600_000_000,
  day: 86_400_000_000,
  dayofyear: 86_400_000_000,
  weekday: 86_400_000_000,
  week: 7 * 86_400_000_000,
};

type Call = Expression & { readonly kind: 'call' };

/** What ON says, taken apart. */
export interface JoinConditions {
  /** By source of the left side; empty when ON bounds no time. */
  readonly bounds: readonly TimeBound[];
  /** `left = right` where each is of its side alone. */
  readonly equalities: readonly { readonly left: Expression; readonly right: Expression }[];
  /** Whatever else stands between the ANDs. */
  readonly rest: readonly Expression[];
}

/** A side that ON speaks of. `timed` is false for a reference table. */
export interface JoinSource {
  readonly alias: string;
  readonly timed: boolean;
}

/**
 * Takes the ON of a join apart. A time bound is a comparison of `DATEDIFF(unit, A, B)`, where A and B are the names of sources, with
 * constants: the time that passes from A to B as an exact length, not the boundaries of the unit between them. Throws
 * {@link QueryProblem} for a bound that is not one; that there is none at all is for {@link requireBounds} to say.
 */
export function conditionsOf(join: Join, left: readonly JoinSource[], right: JoinSource): JoinConditions {
  const bounds = new Map<number, TimeBound>();
  const equalities: { left: Expression; right: Expression }[] = [];
  const rest: Expression[] = [];
  const names = new Names(left, right);
  for (const part of conjuncts(join.on)) {
    const bound = names.boundOf(part);
    const equality = bound === null ? names.equalityOf(part) : null;
    if (bound !== null) {
      const earlier = bounds.get(bound.source) ?? { lower: -Infinity, upper: Infinity };
      const lower = Math.max(earlier.lower, bound.lower);
      const upper = Math.min(earlier.upper, bound.upper);
      if (lower > upper) throw new QueryProblem(part.at, 'no time can meet this together with the bounds before it');
      bounds.set(bound.source, { source: bound.source, lower, upper });
    } else if (equality !== null) equalities.push(equality);
    else rest.push(part);
  }
  return { bounds: [...bounds.values()], equalities, rest };
}

/** Throws unless a join of streams is bound in time at both ends and within {@link DURATION_MAX_MICROS}. */
export function requireBounds(join: Join, { bounds, rest }: JoinConditions, left: string): void {
  const example = `DATEDIFF(second, ${left}, ${join.source.alias}) BETWEEN 0 AND 30`;
  const columns = rest.map((part) => firstWithin(part, isDateDiff)).find((call) => call !== null) ?? null;
  if (bounds.length === 0 && columns !== null) {
    const hint = `give it the names of the sources, not fields: ${example}`;
    throw new QueryProblem(columns.at, 'this DATEDIFF does not bound the join in time', hint);
  }
  if (bounds.length === 0) {
    const { name } = join.source;
    throw new QueryProblem(
      join.on.at,
      'a join of two streams needs a bound in time',
      `add AND ${example}; or is ${name} a reference table? then it needs its file: \`reference\` of the module, --reference ${name}=FILE`,
    );
  }
  if (!bounds.some(({ lower, upper }) => Number.isFinite(lower) && Number.isFinite(upper))) {
    throw new QueryProblem(join.on.at, 'the time between the two streams has only one bound', `bound both: ${example}`);
  }
  for (const bound of bounds) {
    for (const end of [bound.lower, bound.upper]) {
      if (!Number.isFinite(end) || Math.abs(end) <= DURATION_MAX_MICROS) continue;
      throw new QueryProblem(join.on.at, 'a join reaches at most 7 days', 'make the bounds of DATEDIFF smaller');
    }
  }
}

/** The conditions that an expression joins by AND. */
function conjuncts(expression: Expression): readonly Expression[] {
  if (expression.kind !== 'binary' || expression.operator !== 'and') return [expression];
  return [...conjuncts(expression.left), ...conjuncts(expression.right)];
}

function isDateDiff(expression: Expression): expression is Call {
  return expression.kind === 'call' && expression.name === 'datediff';
}

/** The first part of an expression, outer before inner, that is what is looked for. */
function firstWithin<T extends Expression>(expression: Expression, wanted: (part: Expression) => part is T): T | null {
  let first: T | null = null;
  visit(expression, (part) => {
    if (first !== null) return true;
    if (wanted(part)) first = part;
    return first !== null;
  });
  return first;
}

/** Who is meant by the names that ON uses. */
class Names {
  readonly #left: readonly JoinSource[];
  readonly #right: JoinSource;

  constructor(left: readonly JoinSource[], right: JoinSource) {
    this.#left = left;
    this.#right = right;
  }

  /** `left = right`, either way round, when each side speaks of one side of the join only, and does speak of it. */
  equalityOf(part: Expression): { left: Expression; right: Expression } | null {
    if (part.kind !== 'binary' || part.operator !== '=') return null;
    const sides = [this.#sideOf(part.left), this.#sideOf(part.right)].join();
    if (sides === 'left,right') return { left: part.left, right: part.right };
    return sides === 'right,left' ? { left: part.right, right: part.left } : null;
  }

  /** The bound that a condition is; null when it does not speak of the time between sources. */
  boundOf(part: Expression): TimeBound | null {
    const call = firstWithin(part, (inner): inner is Call => isDateDiff(inner) && this.#namesSources(inner));
    if (call === null) return null;
    const { source, sign, unit } = this.#elapsed(call);
    const [lower, upper] = limitsOf(part, call, unit);
    if (lower > upper) throw new QueryProblem(part.at, 'no time can meet this bound', 'the smaller end comes first');
    return sign === 1 ? { source, lower, upper } : { source, lower: -upper, upper: -lower };
  }

  /** Whether DATEDIFF stands between sources rather than fields. */
  #namesSources(call: Call): boolean {
    return call.args.length === 3 && call.args.slice(1).some((arg) => this.#placeOf(arg) !== null);
  }

  /** From which source of the left side it counts (sign 1) or to which (-1), and the length of its unit. */
  #elapsed(call: Call): { source: number; sign: 1 | -1; unit: Micros } {
    const [unitName, from, to] = call.args as readonly [Expression, Expression, Expression];
    const name = unitName.kind === 'literal' && typeof unitName.value === 'string' ? unitName.value : '';
    const unit = Object.hasOwn(UNIT_MICROS, name) ? UNIT_MICROS[name] : undefined;
    if (unit === undefined) {
      const hint = 'count in weeks, days, hours, minutes, seconds, milliseconds or microseconds';
      throw new QueryProblem(unitName.at, 'a bound in time is not counted in this unit', hint);
    }
    for (const arg of [from, to]) {
      const place = this.#placeOf(arg);
      if (place === null) {
        throw new QueryProblem(
          arg.at,
          'a bound in time is between two sources',
          'give DATEDIFF two names of FROM and JOIN',
        );
      }
      if (!(this.#left[place] ?? this.#right).timed) {
        const hint = 'join it on equal values: its rows hold at any time';
        throw new QueryProblem(arg.at, 'a reference table has no time', hint);
      }
    }
    const first = this.#placeOf(from) as number;
    const second = this.#placeOf(to) as number;
    const right = this.#left.length;
    if ((first === right) === (second === right)) {
      const hint = `one of the two must be ${this.#right.alias}, and the other a source before it`;
      throw new QueryProblem(call.at, 'this bound is not between the two sides of the join', hint);
    }
    return second === right ? { source: first, sign: 1, unit } : { source: second, sign: -1, unit };
  }

  /** The number of the source whose name this is, the right side's last; null when it is something else. */
  #placeOf(expression: Expression): number | null {
    if (expression.kind !== 'field' || expression.path.length !== 1) return null;
    return this.#sourceNamed(expression.path[0] as string);
  }

  #sourceNamed(name: string): number | null {
    const place = [...this.#left, this.#right].findIndex(({ alias }) => alias.toLowerCase() === name.toLowerCase());
    return place === -1 ? null : place;
  }

  /** Which side an expression speaks of, when it is one alone and by fields alone. */
  #sideOf(expression: Expression): 'left' | 'right' | null {
    const sides = new Set<'left' | 'right' | 'other'>();
    visit(expression, (part) => {
      // Of the whole row, such as its timestamp: known only when the pair is.
      if (part.kind === 'window id' || (part.kind === 'call' && part.name.startsWith('system.'))) sides.add('other');
      if (part.kind !== 'field') return;
      const place = this.#sourceNamed(part.path[0] as string);
      sides.add(place === null ? 'other' : place === this.#left.length ? 'right' : 'left');
    });
    const [side] = sides;
    return sides.size !== 1 || side === undefined || side === 'other' ? null : side;
  }
}

/** Lowest and highest elapsed time by a condition whose DATEDIFF is `call`, in microseconds. */
function limitsOf(part: Expression, call: Call, unit: Micros): readonly [Micros, Micros] {
  if (part.kind === 'between' && part.operand === call && !part.negated) {
    return [Math.ceil(microsOf(part.low, unit)), Math.floor(microsOf(part.high, unit))];
  }
  if (part.kind === 'binary' && part.left === call) return comparisonLimits(part, part.operator, part.right, unit);
  if (part.kind === 'binary' && part.right === call) {
    return comparisonLimits(part, MIRRORED[part.operator] ?? part.operator, part.left, unit);
  }
  const hint = 'compare DATEDIFF with constants (BETWEEN, =, <, <=, >, >=) and join the conditions by AND';
  throw new QueryProblem(call.at, 'this does not bound the time between the two sources', hint);
}

/** `5 > d` is `d < 5`. */
const MIRRORED: Readonly<Partial<Record<BinaryOperator, BinaryOperator>>> = {
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};

function comparisonLimits(
  part: Expression,
  operator: BinaryOperator,
  constant: Expression,
  unit: Micros,
): readonly [Micros, Micros] {
  const value = microsOf(constant, unit);
  switch (operator) {
    case '=':
      return [Math.ceil(value), Math.floor(value)];
    case '<=':
      return [-Infinity, Math.floor(value)];
    case '<':
      return [-Infinity, Math.ceil(value) - 1];
    case '>=':
      return [Math.ceil(value), Infinity];
    case '>':
      return [Math.floor(value) + 1, Infinity];
    default: {
      const hint = 'compare DATEDIFF with =, <, <=, >, >= or BETWEEN';
      throw new QueryProblem(part.at, `${operator} does not bound the time between the two sources`, hint);
    }
  }
}

/** 4.1 seconds are 4100000 microseconds, though the product of the doubles is 4099999.9999999995. */
function microsOf(constant: Expression, unit: Micros): Micros {
  return Number((constantOf(constant) * unit).toPrecision(15));
}

function constantOf(expression: Expression): number {
  const value: Value = isConstant(expression) ? compile(expression, NOWHERE)(null) : null;
  if (typeof value === 'number') return value;
  if (value instanceof Float) return value.value;
  throw new QueryProblem(expression.at, 'a bound in time is a constant number', 'write a number, such as 30');
}

/** What a constant sees: nothing. */
const NOWHERE = {
  field: (): never => {
    throw new Error('a constant has no fields');
  },
  call: (): null => null,
};
