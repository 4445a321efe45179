import { nearest } from '../query/nearest.ts';
import { QueryProblem } from '../query/problem.ts';
import { SYSTEM_NAMES } from './message-view.ts';
import type { BodyPath, ChainOperator, Condition, Link } from './route-ast.ts';
import { ROUTE_FUNCTIONS, type RouteType } from './route-functions.ts';

/** Something that is allowed and probably not meant, where it stands. */
export type RouteWarning = QueryProblem;

const SHOWN: Readonly<Record<RouteType, string>> = {
  undefined: 'undefined',
  null: 'null',
  bool: 'true or false',
  number: 'a number',
  text: 'text',
  body: 'something of the body',
};

/** Checks a whole condition: see {@link checkTypes}. */
export function checkCondition(condition: Condition, warnings: RouteWarning[]): void {
  const type = checkTypes(condition, warnings);
  if (type === 'bool' || type === 'body') return;
  warnings.push(new QueryProblem(condition.at, `a condition that is ${SHOWN[type]} lets nothing through`));
}

/**
 * Works out what each part of a condition is. Throws a {@link QueryProblem} where two parts do not go together: nothing is
 * converted, as in the published grammar. Adds what is odd to `warnings`.
 */
function checkTypes(condition: Condition, warnings: RouteWarning[]): RouteType {
  switch (condition.kind) {
    case 'literal':
      return typeOfLiteral(condition.value);
    case 'property':
      warnOfName(condition, warnings);
      return 'text';
    case 'system':
      if (condition.body !== null) {
        warnOfPath(condition, condition.body, warnings);
        return 'body';
      }
      warnOfSystemName(condition, warnings);
      return 'text';
    case 'call':
      return checkCall(condition, warnings);
    case 'not': {
      const type = checkTypes(condition.operand, warnings);
      if (type !== 'number' && type !== 'text') return type === 'undefined' ? type : 'bool';
      const hint = 'NOT binds tighter than a comparison: write NOT (a = b)';
      throw new QueryProblem(condition.operand.at, `NOT needs true or false, and this is ${SHOWN[type]}`, hint);
    }
    case 'negate': {
      const type = checkTypes(condition.operand, warnings);
      if (isOne(type, 'number')) return 'number';
      throw new QueryProblem(
        condition.operand.at,
        `- needs a number, and this is ${SHOWN[type]}`,
        swallowed(warnings, condition.operand.at) ?? numberHint(type),
      );
    }
    case 'chain':
      return checkChain(condition, warnings);
    case 'list':
      throw new QueryProblem(condition.at, 'a list stands only at the right of IN');
  }
}

function typeOfLiteral(value: unknown): RouteType {
  if (value === null) return 'null';
  return (
    ({ boolean: 'bool', number: 'number', string: 'text' }[typeof value as string] as RouteType | undefined) ??
    'undefined'
  );
}

/** It is of this type, or may turn out to be. */
function isOne(type: RouteType, wanted: RouteType): boolean {
  return type === wanted || type === 'body' || type === 'undefined';
}

function numberHint(type: RouteType): string | null {
  return type === 'text' ? 'properties are text: write AS_NUMBER(x)' : null;
}

function checkChain({ first, rest }: Condition & { kind: 'chain' }, warnings: RouteWarning[]): RouteType {
  let left = checkTypes(first, warnings);
  let leftAt = first.at;
  for (const link of rest) {
    left = link.operator === 'in' ? checkList(left, link, warnings) : checkPair(left, leftAt, link, warnings);
    leftAt = link.operand.at;
  }
  return left;
}

function checkPair(left: RouteType, leftAt: number, link: Link, warnings: RouteWarning[]): RouteType {
  const { operator, operand, operatorAt } = link;
  const right = checkTypes(operand, warnings);
  const sides = [
    [left, leftAt],
    [right, operand.at],
  ] as const;
  const needs = (wanted: RouteType, ...also: RouteType[]): void => {
    for (const [type, at] of sides) {
      if (isOne(type, wanted) || also.includes(type)) continue;
      const hint = swallowed(warnings, at) ?? (wanted === 'number' ? numberHint(type) : null);
      throw new QueryProblem(at, `${shown(operator)} needs ${SHOWN[wanted]}, and this is ${SHOWN[type]}`, hint);
    }
  };
  switch (operator) {
    case 'and':
    case 'or':
      needs('bool', 'null');
      return 'bool';
    case '||':
      needs('text');
      return 'text';
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      needs('number');
      return 'number';
    default: {
      const alike = left === right || [left, right].some((type) => type === 'body' || type === 'undefined');
      if (!alike) throw unlike(left, right, link);
      if (operator !== '??') return 'bool';
      if (left === 'undefined') return right;
      return left === right || right === 'undefined' ? left : 'body';
    }
  }

  function unlike(one: RouteType, other: RouteType, { operator: sign }: Link): QueryProblem {
    const types = [one, other];
    let hint = swallowed(warnings, leftAt, operand.at);
    if (hint !== null)
      return new QueryProblem(operatorAt, `${shown(sign)} between ${SHOWN[one]} and ${SHOWN[other]}`, hint);
    if (sign === '??') hint = '?? is the loosest operator: write (a ?? b) = c';
    else if (types.includes('null')) hint = 'only something of the body can be null';
    else if (types.includes('number') && types.includes('text')) hint = 'properties are text: write AS_NUMBER(x)';
    return new QueryProblem(operatorAt, `${shown(sign)} between ${SHOWN[one]} and ${SHOWN[other]}`, hint);
  }
}

function checkList(left: RouteType, { operand }: Link, warnings: RouteWarning[]): RouteType {
  for (const item of operand.kind === 'list' ? operand.items : []) {
    const type = checkTypes(item, warnings);
    const alike = left === type || [left, type].some((each) => ['body', 'undefined', 'null'].includes(each));
    if (!alike)
      throw new QueryProblem(item.at, `${SHOWN[left]} is sought, and this is ${SHOWN[type]}`, numberHint(left));
  }
  return 'bool';
}

function checkCall({ name, args, at }: Condition & { kind: 'call' }, warnings: RouteWarning[]): RouteType {
  const known = ROUTE_FUNCTIONS.get(name.toLowerCase());
  if (known === undefined) {
    if (name.toLowerCase() === 'twin_change_includes') {
      throw new QueryProblem(at, 'TWIN_CHANGE_INCLUDES is for the cloud only', 'take FROM /twinChangeNotifications');
    }
    const meant = nearest(name, [...ROUTE_FUNCTIONS.keys()])?.toUpperCase();
    const hint = meant === undefined ? null : `did you mean ${meant}?`;
    throw new QueryProblem(at, `there is no function ${JSON.stringify(name.slice(0, 100))}`, hint);
  }
  const { params, optional = 0, repeated = false, form } = known;
  if (args.length < params.length - optional || (args.length > params.length && !repeated)) {
    throw new QueryProblem(at, `${args.length} ${args.length === 1 ? 'argument' : 'arguments'}: it is ${form}`);
  }
  args.forEach((arg, index) => {
    const type = checkTypes(arg, warnings);
    const wanted = params[Math.min(index, params.length - 1)]!;
    const fits = wanted.some((each) => each === 'any' || each === type) || ['body', 'undefined', 'null'].includes(type);
    if (fits) return;
    const names = wanted.map((each) => SHOWN[each as RouteType]).join(' or ');
    const hint = swallowed(warnings, arg.at) ?? (wanted.includes('number') ? numberHint(type) : null);
    throw new QueryProblem(arg.at, `${form} needs ${names} here, and this is ${SHOWN[type]}`, hint);
  });
  return known.result;
}

function shown(operator: ChainOperator): string {
  return operator.toUpperCase();
}

const SPACES = 'put spaces around operators';

/** A name that swallowed an operator, as the published grammar has it. */
function warnOfName({ name, at }: Condition & { kind: 'property' }, warnings: RouteWarning[]): void {
  if (!/^['\d.+-]|[+*%|&!]/.test(name)) return;
  const shownName = JSON.stringify(name.slice(0, 100));
  warnings.push(new QueryProblem(at, `${shownName} is one name, that of a property`, SPACES));
}

/** The same of a field: `$body.a!=1` asks for a field `a!`. */
function warnOfPath({ name, at }: Condition & { kind: 'system' }, path: BodyPath, warnings: RouteWarning[]): void {
  if (!path.some((step) => typeof step === 'string' && step !== '*' && /[+*%|&!]/.test(step))) return;
  const shownName = JSON.stringify(`$${name.slice(0, 100)}`);
  warnings.push(new QueryProblem(at, `${shownName} is one name, that of a field`, SPACES));
}

/** What to write where one of these operands is such a name: what its type asks for would make it worse. */
function swallowed(warnings: readonly RouteWarning[], ...places: readonly number[]): string | null {
  const warning = warnings.find(({ at, hint }) => hint === SPACES && places.includes(at));
  return warning === undefined ? null : `${warning.message}: ${SPACES}`;
}

function warnOfSystemName({ name, at, orProperty }: Condition & { kind: 'system' }, warnings: RouteWarning[]): void {
  const lower = name.toLowerCase();
  if (SYSTEM_NAMES.some((each) => each.toLowerCase() === lower)) return;
  const meant = nearest(name, SYSTEM_NAMES);
  const what = lower.startsWith('twin.')
    ? 'twins can be asked in the cloud only'
    : `there is no system property ${JSON.stringify(`$${name.slice(0, 100)}`)}${orProperty ? ': it is undefined unless a message has a property of that name' : ''}`;
  warnings.push(new QueryProblem(at, what, meant === undefined ? null : `did you mean $${meant}?`));
}
