import { QueryProblem, type Offset } from '../query/problem.ts';
import type { ChainOperator, Condition, Link, RouteSink, RouteSource, RouteText } from './route-ast.ts';
import { bodyPath } from './route-body-path.ts';
import { routeTokens, type Comment, type Token } from './route-lexer.ts';

/** Deepest nesting of a condition: brackets, arguments, lists, NOT and minus. */
const DEPTH_MAX = 64;
const KEYWORDS = new Set(['select', 'from', 'where', 'into', 'and', 'or', 'not']);
/** In lower case only; `TRUE` is a property. */
const LITERALS = new Map<string, undefined | null | boolean>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['undefined', undefined],
]);
/** Binary operators from loose to tight; all associate to the left. */
const RANKS: readonly (readonly string[])[] = [
  ['??'],
  ['or'],
  ['and'],
  ['=', '!=', '<>'],
  ['<', '<=', '>', '>=', 'in'],
  ['+', '-', '||'],
  ['*', '/', '%'],
];
/** Operators of other languages, by what to write here. */
const FOREIGN = new Map([
  ['&&', 'write AND'],
  ['&', 'write AND'],
  ['|', 'write OR, or || to join texts'],
  ['!', 'write NOT'],
  ['like', 'there is no LIKE; use STARTS_WITH, ENDS_WITH or CONTAINS'],
  ['between', 'there is no BETWEEN; write x >= a AND x <= b'],
  ['in', "a list follows it: write x IN ['a', 'b']"],
  ['is', 'there is no IS; use IS_NULL(x) or IS_DEFINED(x)'],
  ['as', 'there is no AS in a route'],
  ['group', 'windows belong into a module’s query'],
]);

/** Reads a route: `[SELECT *] FROM source [WHERE condition] INTO sink`. Throws a {@link QueryProblem}. Knows nothing of types. */
export function parseRouteText(text: string): RouteText {
  if (text.trim() === '') throw new QueryProblem(0, 'the route is empty', 'write FROM /messages/* INTO $upstream');
  return new RouteParser(text).route();
}

class RouteParser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  readonly #comments: readonly Comment[];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    const { tokens, comments } = routeTokens(text);
    this.#text = text;
    this.#tokens = tokens;
    this.#comments = comments;
  }

  route(): RouteText {
    if (this.#keyword('select') && !this.#sign('*')) {
      throw this.#unexpected('*', 'a route takes whole messages: SELECT * FROM ...');
    }
    if (!this.#keyword('from')) throw this.#unexpected('FROM', 'a route is FROM source [WHERE condition] INTO sink');
    const source = this.#source();
    const condition = this.#keyword('where') ? this.#condition() : null;
    if (!this.#keyword('into')) {
      const found = this.#peek;
      const minus = found.kind === 'number' && found.text.startsWith('-') ? 'put a space behind the minus' : null;
      const hint = FOREIGN.get(found.text.toLowerCase()) ?? minus;
      throw this.#unexpected(condition === null ? 'WHERE or INTO' : 'an operator or INTO', hint);
    }
    const { sink, sinkAt } = this.#sink();
    if (this.#peek.kind !== 'end') {
      throw new QueryProblem(
        this.#peek.at,
        `${shown(this.#peek)} stands behind the sink`,
        'a route ends with its sink',
      );
    }
    return { source, condition, sink, sinkAt };
  }

  get #peek(): Token {
    return this.#tokens[this.#next]!;
  }

  #take(): Token {
    const token = this.#peek;
    if (token.kind !== 'end') this.#next++;
    return token;
  }

  #sign(sign: string): boolean {
    const { kind, text } = this.#peek;
    const there = kind === 'sign' && text === sign;
    if (there) this.#next++;
    return there;
  }

  #keyword(word: string): boolean {
    const there = keywordOf(this.#peek) === word;
    if (there) this.#next++;
    return there;
  }

  #unexpected(wanted: string, hint: string | null = null): QueryProblem {
    const found = this.#peek;
    return new QueryProblem(found.at, `expected ${wanted}, found ${shown(found)}`, hint);
  }

  #source(): RouteSource {
    const { at } = this.#peek;
    if (!this.#sign('/')) {
      const from = this.#tokens[this.#next - 1]!;
      const swallowed = this.#comments.find((comment) => comment.at >= from.end && comment.at < at);
      if (swallowed !== undefined) throw this.#swallowed(swallowed, '/messages');
      throw this.#unexpected('a source that begins with /', 'write for example FROM /messages/*');
    }
    const items: string[] = [];
    do {
      const item = this.#peek;
      const isItem = (item.kind === 'name' && keywordOf(item) === null) || (item.kind === 'sign' && item.text === '*');
      if (!isItem) {
        const hint = items.length > 0 ? 'a source does not end with /' : 'everything is /*, all telemetry /messages/*';
        throw this.#unexpected(
          'a part of the source',
          item.kind === 'number' ? 'a part of only digits cannot be written' : hint,
        );
      }
      items.push(this.#take().text);
    } while (this.#sign('/'));
    const { end } = this.#tokens[this.#next - 1]!;
    // What was meant as the source's `/*` begins a comment as soon as there is any `*/` behind it, and takes the WHERE with it.
    const glued = this.#comments.find((comment) => comment.at === end);
    const text = `/${items.join('/')}`;
    if (glued !== undefined) throw this.#swallowed(glued, text);
    const prefix = text.replace(/\*$/, '').toLowerCase();
    return { text, prefix: prefix.endsWith('/') ? prefix : `${prefix}/`, at };
  }

  #swallowed({ at, end }: Comment, source: string): QueryProblem {
    const inside = this.#text.slice(at + 2, end - 2);
    const what = /\bwhere\b/i.test(inside) ? 'a comment that swallows the WHERE' : 'a comment';
    return new QueryProblem(
      at,
      `this /* begins ${what}: it goes on to the */ ${end - at - 2} characters on`,
      `write ${source}, which takes the same messages, or leave the comment out`,
    );
  }

  #sink(): { sink: RouteSink; sinkAt: Offset } {
    const token = this.#peek;
    const hint = 'write $upstream or BrokeredEndpoint("/modules/NAME/inputs/INPUT")';
    if (token.kind === 'system') {
      if (token.text.toLowerCase() !== '$upstream')
        throw new QueryProblem(token.at, `no sink is called ${shown(token)}`, hint);
      this.#next++;
      return { sink: { kind: 'upstream' }, sinkAt: token.at };
    }
    if (token.kind !== 'name' || token.text.toLowerCase() !== 'brokeredendpoint')
      throw this.#unexpected('a sink', hint);
    this.#next++;
    if (!this.#sign('(')) throw this.#unexpected('(', hint);
    const endpoint = this.#peek;
    if (endpoint.kind !== 'text') throw this.#unexpected('the endpoint in quotes', hint);
    this.#next++;
    if (!this.#sign(')')) throw this.#unexpected(')');
    return { sink: sinkOf(endpoint), sinkAt: endpoint.at + 1 };
  }

  #condition(rank = 0): Condition {
    const operators = RANKS[rank];
    if (operators === undefined) return this.#operand();
    const first = this.#condition(rank + 1);
    const rest: Link[] = [];
    for (;;) {
      const operator = this.#operatorOf(this.#peek);
      if (operator === null || !operators.includes(operator)) break;
      const { at } = this.#take();
      const operand = operator === 'in' ? this.#list() : this.#condition(rank + 1);
      rest.push({ operator: (operator === '<>' ? '!=' : operator) as ChainOperator, operatorAt: at, operand });
    }
    if (rest.length === 0) return first;
    return { kind: 'chain', first, rest, at: first.at, end: rest.at(-1)!.operand.end };
  }

  #operatorOf(token: Token): string | null {
    if (token.kind === 'sign') return token.text;
    const word = token.kind === 'name' ? token.text.toLowerCase() : '';
    if (word === 'and' || word === 'or') return word;
    const after = this.#tokens[this.#next + 1];
    return word === 'in' && after?.kind === 'sign' && after.text === '[' ? word : null;
  }

  #operand(): Condition {
    this.#deeper();
    const operand = this.#innerOperand(this.#peek);
    this.#depth--;
    return operand;
  }

  #deeper(): void {
    if (++this.#depth > DEPTH_MAX) throw new QueryProblem(this.#peek.at, `nested more than ${DEPTH_MAX} deep`);
  }

  #innerOperand(token: Token): Condition {
    const { at, end, kind, text } = token;
    if (this.#keyword('not')) {
      const operand = this.#operand();
      return { kind: 'not', operand, at, end: operand.end };
    }
    if (this.#sign('-')) {
      const operand = this.#operand();
      return { kind: 'negate', operand, at, end: operand.end };
    }
    if (this.#sign('(')) {
      const inner = this.#condition();
      if (!this.#sign(')'))
        throw this.#unexpected('an operator or )', FOREIGN.get(this.#peek.text.toLowerCase()) ?? null);
      return { ...inner, at, end: this.#tokens[this.#next - 1]!.end };
    }
    if (kind === 'number' || kind === 'text') {
      this.#next++;
      return { kind: 'literal', value: token.value, at, end };
    }
    if (kind === 'system' || kind === 'braced') {
      this.#next++;
      if (text === '$') throw new QueryProblem(at, 'a name is missing behind $');
      const name = text.slice(1);
      const within = kind === 'braced' ? this.#text.indexOf('$', at) : at;
      const orProperty = kind === 'system' && !/[[\]]/.test(name);
      return { kind: 'system', name, body: bodyPath(name, within + 1), orProperty, at, end };
    }
    if (kind === 'name' && keywordOf(token) === null) {
      this.#next++;
      if (this.#sign('(')) return this.#call(token);
      if (LITERALS.has(text)) return { kind: 'literal', value: LITERALS.get(text), at, end };
      return { kind: 'property', name: text, at, end };
    }
    const before = this.#tokens[this.#next - 1];
    throw this.#unexpected('a value', text === '=' && before?.text === '=' ? 'equality is a single =' : null);
  }

  #call(name: Token): Condition {
    const args: Condition[] = [];
    if (!this.#sign(')')) {
      do args.push(this.#condition());
      while (this.#sign(','));
      if (!this.#sign(')')) throw this.#unexpected('an operator, a comma or )');
    }
    return { kind: 'call', name: name.text, args, at: name.at, end: this.#tokens[this.#next - 1]!.end };
  }

  #list(): Condition {
    this.#deeper();
    const { at } = this.#take();
    const items: Condition[] = [];
    if (!this.#sign(']')) {
      do items.push(this.#condition());
      while (this.#sign(','));
      if (!this.#sign(']')) throw this.#unexpected('an operator, a comma or ]');
    }
    this.#depth--;
    return { kind: 'list', items, at, end: this.#tokens[this.#next - 1]!.end };
  }
}

function keywordOf({ kind, text }: Token): string | null {
  const word = text.toLowerCase();
  return kind === 'name' && KEYWORDS.has(word) ? word : null;
}

function shown({ kind, text }: Token): string {
  if (kind === 'end') return 'the end of the route';
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

/** One leading and one trailing slash do not count; then there are exactly four parts. */
function sinkOf({ value, at }: Token): RouteSink {
  const text = String(value);
  const parts = text.replace(/^\//, '').replace(/\/$/, '').split('/');
  const [room, name = '', inputs, input = ''] = parts;
  const whole = parts.length === 4 && inputs?.toLowerCase() === 'inputs' && name !== '' && input !== '';
  if (whole && room?.toLowerCase() === 'modules') return { kind: 'module', module: name, input };
  if (whole && room?.toLowerCase() === 'children') return { kind: 'child', child: name, input };
  throw new QueryProblem(
    at + 1,
    `${JSON.stringify(text.slice(0, 100))} is not an endpoint`,
    'write /modules/NAME/inputs/INPUT or /children/NAME/inputs/INPUT',
  );
}
