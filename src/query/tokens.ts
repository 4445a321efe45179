import type { Expression } from './ast.ts';
import { lex, tokenText, type Token } from './lexer.ts';
import { nearest } from './nearest.ts';
import { QueryProblem, type Offset } from './problem.ts';
import { refusedClause } from './refusals.ts';
import { isReserved } from './words.ts';

/** How deep brackets, CASE and calls may stand in one another. */
const NESTING_MAX = 200;
/** How many levels an expression may have; a chain of n operators has n. Whoever walks it may recurse. */
const LEVELS_MAX = 500;

/** What a misspelt word may have been meant for, where none of the words that may stand there is near. */
const KEYWORDS = (
  'SELECT,FROM,WHERE,GROUP BY,HAVING,INTO,WITH,UNION,JOIN,ON,AS,AND,OR,LIKE,BETWEEN,CASE,WHEN,THEN,ELSE,END,TIMESTAMP,' +
  'TIMESTAMP BY,PARTITION,PARTITION BY,OVER,GROUP,ORDER,CROSS APPLY,OUTER APPLY,INNER,LEFT,OUTER,CROSS,CREATE,LIMIT,DURATION'
).split(',');

/** A query's tokens and where the parser stands among them. */
export class Tokens {
  readonly #tokens: readonly Token[];
  readonly #levels = new Map<Expression, number>();
  #position = 0;
  #nesting = 0;
  /** The last alias that came without AS, and the place behind it: where a misspelt keyword shows. */
  #bareAlias: { word: Token; behind: number } | null = null;

  constructor(text: string) {
    this.#tokens = lex(text);
  }

  /** The token that is next, or the one `ahead` further on. */
  peek(ahead = 0): Token {
    return this.#tokens[this.#position + ahead] ?? this.#tokens.at(-1)!;
  }

  /** Where the next token begins. */
  get at(): Offset {
    return this.peek().at;
  }

  next(): Token {
    const token = this.peek();
    if (this.#position < this.#tokens.length - 1) this.#position += 1;
    return token;
  }

  isWord(lower: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === 'word' && token.lower === lower;
  }

  isMark(mark: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === 'mark' && token.text === mark;
  }

  /** Takes this word when it is next. */
  takeWord(lower: string): boolean {
    if (!this.isWord(lower)) return false;
    this.#position += 1;
    return true;
  }

  /** Takes both words when they are next, or none. */
  takeWords(first: string, second: string): boolean {
    if (!this.isWord(first) || !this.isWord(second, 1)) return false;
    this.#position += 2;
    return true;
  }

  takeMark(mark: string): boolean {
    if (!this.isMark(mark)) return false;
    this.#position += 1;
    return true;
  }

  needWord(lower: string): void {
    if (!this.takeWord(lower)) throw this.unexpected(lower.toUpperCase(), [lower]);
  }

  /** Takes the operator that is next when it is one of these. */
  takeOperator<Operator extends string>(operators: ReadonlySet<Operator>): Operator | null {
    const token = this.peek();
    if (token.kind !== 'mark' || !isOneOf(token.text, operators)) return null;
    this.#position += 1;
    return token.text;
  }

  /** Takes `mark`; `where` says what it belongs to. */
  needMark(mark: string, where: string): void {
    if (!this.takeMark(mark)) throw this.unexpected(`"${mark}" ${where}`);
  }

  /** Takes a name: a word that is not reserved, or anything in brackets or double quotes. `what` says of what. */
  needName(what: string): string {
    const token = this.peek();
    if (token.kind === 'word' && isReserved(token.lower)) {
      throw this.unexpected(what, [], `write [${token.text}] if that is a name`);
    }
    if (token.kind !== 'word' && token.kind !== 'bracketed' && token.kind !== 'quoted') {
      throw this.unexpected(
        what,
        [],
        token.kind === 'text' ? 'texts are no names: leave the quotes out, or write [..]' : null,
      );
    }
    this.next();
    const dash = this.peek();
    const behind = this.peek(1);
    // No operator can follow a name of this kind.
    if (token.kind === 'word' && this.isMark('-') && dash.at === token.end && behind.at === dash.end) {
      const rest = behind.kind === 'word' ? behind.text : '..';
      throw new QueryProblem(token.at, `- cannot stand in ${what}`, `put it into brackets: [${token.text}-${rest}]`);
    }
    return token.text;
  }

  /** Takes the word that is next as an alias without AS. */
  takeBareAlias(): string {
    const word = this.next();
    this.#bareAlias = { word, behind: this.#position };
    return word.kind === 'word' ? word.text : '';
  }

  /** Items separated by commas. */
  list<Item>(item: () => Item): Item[] {
    const items = [item()];
    while (this.takeMark(',')) items.push(item());
    return items;
  }

  /**
   * The problem that the next token cannot stand here, but `wanted`. `words` are the keywords that could (in lower case), in case
   * one of them was misspelt.
   */
  unexpected(wanted: string, words: readonly string[] = [], hint: string | null = null): QueryProblem {
    const token = this.peek();
    const alias = this.#bareAlias;
    if (alias !== null && alias.behind === this.#position) {
      const spelt = tokenText(alias.word);
      const meant = nearest(spelt, KEYWORDS);
      if (meant !== undefined) {
        return new QueryProblem(
          alias.word.at,
          `${spelt} is taken for an alias here, and ${tokenText(token)} cannot follow it`,
          `did you mean ${meant}?`,
        );
      }
    }
    const meant = token.kind === 'word' ? misspelt(token.lower, words) : undefined;
    return new QueryProblem(
      token.at,
      `expected ${wanted}, found ${tokenText(token)}`,
      meant === undefined ? hint : `did you mean ${meant}?`,
    );
  }

  /** The same, where a clause might begin: those of other dialects are told apart. */
  unexpectedClause(wanted: string, words: readonly string[]): QueryProblem {
    const token = this.peek();
    const clause = token.kind === 'word' ? refusedClause(token.lower) : undefined;
    if (clause === undefined) return this.unexpected(wanted, words);
    return new QueryProblem(token.at, `${clause[0]} is not in the language`, clause[1]);
  }

  /** Runs `inner` one bracket deeper. */
  nested<Result>(inner: () => Result): Result {
    if (this.#nesting >= NESTING_MAX) {
      throw new QueryProblem(this.at, `more than ${NESTING_MAX} brackets, signs or calls stand in one another`);
    }
    this.#nesting += 1;
    try {
      return inner();
    } finally {
      this.#nesting -= 1;
    }
  }

  /** The expression with its levels counted: one more than the highest of its `parts`. */
  grown(expression: Expression, parts: readonly (Expression | null)[]): Expression {
    let below = 0;
    for (const part of parts) if (part !== null) below = Math.max(below, this.#levels.get(part) ?? 0);
    if (below >= LEVELS_MAX) {
      throw new QueryProblem(
        expression.at,
        `an expression has more than ${LEVELS_MAX} levels`,
        'x IN (a, b, ..) takes the place of many ORs; a step of WITH can work out a part',
      );
    }
    this.#levels.set(expression, below + 1);
    return expression;
  }
}

function isOneOf<Operator extends string>(text: string, operators: ReadonlySet<Operator>): text is Operator {
  return (operators as ReadonlySet<string>).has(text);
}

/** The keyword that a word was probably meant for. */
function misspelt(lower: string, words: readonly string[]): string | undefined {
  const wanted = words.map((word) => word.toUpperCase());
  const meant = nearest(lower, wanted) ?? nearest(lower, KEYWORDS);
  return meant?.toLowerCase() === lower ? undefined : meant;
}
