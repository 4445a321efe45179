import type { MessageView } from './message-view.ts';
import type { ChainOperator, Condition, Link, RouteValue } from './route-ast.ts';
import { ROUTE_FUNCTIONS } from './route-functions.ts';

/** What a condition, or a part of one, is for a message. */
export type Evaluate = (view: MessageView) => RouteValue;

/** Makes a function of a condition whose types were checked. It never throws. */
export function compiled(condition: Condition): Evaluate {
  switch (condition.kind) {
    case 'literal': {
      const { value } = condition;
      return () => value;
    }
    case 'property': {
      const { name } = condition;
      const lower = name.toLowerCase();
      return (view) => view.property(name, lower);
    }
    case 'system':
      return reference(condition);
    case 'call':
      return call(condition);
    case 'not': {
      const operand = compiled(condition.operand);
      const bare = isBody(condition.operand);
      return (view) => {
        const value = operand(view);
        if (value === null) return bare ? undefined : true;
        return typeof value === 'boolean' ? !value : undefined;
      };
    }
    case 'negate': {
      const operand = compiled(condition.operand);
      return (view) => {
        const value = operand(view);
        return typeof value === 'number' ? -value : undefined;
      };
    }
    case 'chain':
      return chain(condition);
    case 'list': {
      const items = condition.items.map(compiled);
      return (view) => items.map((item) => item(view));
    }
  }
}

function reference({ name, body, orProperty }: Condition & { kind: 'system' }): Evaluate {
  const lower = name.toLowerCase();
  const whole = `$${name}`;
  const wholeLower = `$${lower}`;
  const own: Evaluate = body === null ? (view) => view.system(lower) : (view) => view.body(body);
  if (!orProperty) return own;
  return (view) => view.property(whole, wholeLower) ?? own(view);
}

function call({ name, args }: Condition & { kind: 'call' }): Evaluate {
  const { params, run } = ROUTE_FUNCTIONS.get(name.toLowerCase())!;
  const evaluate = args.map(compiled);
  return (view) => {
    const values: RouteValue[] = [];
    for (let i = 0; i < evaluate.length; i++) {
      const value = evaluate[i]!(view);
      const wanted = params[Math.min(i, params.length - 1)]!;
      if (!wanted.some((type) => type === 'any' || typeof value === (type === 'text' ? 'string' : type)))
        return undefined;
      values.push(value);
    }
    return defined(run(values));
  };
}

/** NaN counts as undefined. */
function defined(value: RouteValue): RouteValue {
  return Number.isNaN(value) ? undefined : value;
}

function chain({ first, rest }: Condition & { kind: 'chain' }): Evaluate {
  const operands = [first, ...rest.map(({ operand }) => operand)];
  const { operator } = rest[0]!;
  if ((operator === 'and' || operator === 'or') && operands.every((operand) => !mayBeNull(operand))) {
    return logic(operator === 'or', operands.map(compiled));
  }
  const begin = compiled(first);
  const links = rest.map((link, index) => ({
    operand: compiled(link.operand),
    join: joined(link, operands[index]!, index),
  }));
  const [only] = links;
  if (links.length === 1) {
    const { operand, join } = only!;
    return (view) => join(begin(view), operand(view));
  }
  return (view) => {
    let value = begin(view);
    for (const { operand, join } of links) value = join(value, operand(view));
    return value;
  };
}

/** AND (or OR) of what is true, false or undefined: decided by the first that is false (true). */
function logic(decides: boolean, operands: readonly Evaluate[]): Evaluate {
  return (view) => {
    let value: boolean | undefined = !decides;
    for (const operand of operands) {
      const next = operand(view);
      if (next === decides) return decides;
      if (next === undefined) value = undefined;
    }
    return value;
  };
}

type Join = (left: RouteValue, right: RouteValue) => RouteValue;

/** How one more operand goes together with what the chain has come to. `before` is the operand at its left. */
function joined({ operator, operand }: Link, before: Condition, index: number): Join {
  if (operator === 'and' || operator === 'or') {
    // What stands alone from a body must be true or false, or the result is undefined.
    if (isBody(operand) || (index === 0 && isBody(before))) {
      const all = operator === 'and';
      return (left, right) =>
        typeof left !== 'boolean' || typeof right !== 'boolean' ? undefined : all ? left && right : left || right;
    }
    return operator === 'and' ? and : or;
  }
  return JOINS[operator];
}

function and(left: RouteValue, right: RouteValue): RouteValue {
  if (left === null || right === null) return null;
  if (left === false || right === false) return false;
  return left === true && right === true ? true : undefined;
}

function or(left: RouteValue, right: RouteValue): RouteValue {
  if (left === null || right === null) return null;
  if (left === true || right === true) return true;
  return left === false && right === false ? false : undefined;
}

const JOINS: Readonly<Record<Exclude<ChainOperator, 'and' | 'or'>, Join>> = {
  '??': (left, right) => (left === undefined ? right : left),
  in: (left, right) =>
    left === undefined ? undefined : (right as RouteValue[]).some((item) => order(left, item) === 0),
  '=': (left, right) => compared(left, right, (sign) => sign === 0),
  '!=': (left, right) => compared(left, right, (sign) => sign !== 0),
  '<': (left, right) => compared(left, right, (sign) => sign < 0),
  '<=': (left, right) => compared(left, right, (sign) => sign <= 0),
  '>': (left, right) => compared(left, right, (sign) => sign > 0),
  '>=': (left, right) => compared(left, right, (sign) => sign >= 0),
  '+': (left, right) => reckoned(left, right, (a, b) => a + b),
  '-': (left, right) => reckoned(left, right, (a, b) => a - b),
  '*': (left, right) => reckoned(left, right, (a, b) => a * b),
  '/': (left, right) => reckoned(left, right, (a, b) => a / b),
  '%': (left, right) => reckoned(left, right, (a, b) => a % b),
  '||': (left, right) => (typeof left === 'string' && typeof right === 'string' ? left + right : undefined),
};

function compared(left: RouteValue, right: RouteValue, holds: (sign: number) => boolean): boolean | undefined {
  const sign = order(left, right);
  return sign === undefined ? undefined : holds(sign);
}

/**
 * Below 0, 0 or above 0. Different types never are equal: they rank true and false, numbers, text, null. Undefined when one side is
 * undefined, an object or an array. Text goes by code units.
 */
function order(left: RouteValue, right: RouteValue): number | undefined {
  if (typeof left === 'number' && typeof right === 'number') return left < right ? -1 : left > right ? 1 : 0;
  const ranks = [rankOf(left), rankOf(right)] as const;
  if (ranks[0] === 0 || ranks[1] === 0) return undefined;
  if (ranks[0] !== ranks[1]) return ranks[0] - ranks[1];
  if (left === right) return 0;
  return (left as string | boolean) < (right as string | boolean) ? -1 : 1;
}

function rankOf(value: RouteValue): number {
  if (value === null) return 4;
  return { boolean: 1, number: 2, string: 3 }[typeof value as string] ?? 0;
}

function reckoned(left: RouteValue, right: RouteValue, result: (a: number, b: number) => number): RouteValue {
  return typeof left === 'number' && typeof right === 'number' ? defined(result(left, right)) : undefined;
}

/** Its type is not known before there is a message. */
function isBody(condition: Condition): boolean {
  if (condition.kind === 'system') return condition.body !== null;
  if (condition.kind !== 'chain' || condition.rest[0]!.operator !== '??') return false;
  return isBody(condition.first) || condition.rest.some(({ operand }) => isBody(operand));
}

function mayBeNull(condition: Condition): boolean {
  if (isBody(condition)) return true;
  if (condition.kind === 'literal') return condition.value === null;
  if (condition.kind !== 'chain' || !['and', 'or', '??'].includes(condition.rest[0]!.operator)) return false;
  return mayBeNull(condition.first) || condition.rest.some(({ operand }) => mayBeNull(operand));
}
