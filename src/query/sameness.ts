import type { Expression } from './ast.ts';
import { valueText } from './lexer.ts';
import { partsOf } from './parts.ts';

/**
 * Tells which expressions of a select mean the same: names compare without case, and the alias of the only source is left out
 * (`i.temp` is `temp`). Takes time in proportion to the expressions, each of which is looked at once.
 */
export class Sameness {
  readonly #alias: string | null;
  readonly #numbers: Map<string, number>;
  readonly #known = new Map<Expression, number>();

  /**
   * `alias`: that of the only source, null when there are several. `numbers`: of a Sameness for another select, if what they say is
   * to be compared.
   */
  constructor(alias: string | null, numbers = new Map<string, number>()) {
    this.#alias = alias?.toLowerCase() ?? null;
    this.#numbers = numbers;
  }

  /** Equal for expressions that mean the same, and for no others. */
  number(expression: Expression): number {
    const known = this.#known.get(expression);
    if (known !== undefined) return known;
    const parts = partsOf(expression).map((part) => this.number(part));
    const text = `${this.#own(expression)} ${parts.join(' ')}`;
    const number = this.#numbers.get(text) ?? this.#numbers.size;
    this.#numbers.set(text, number);
    this.#known.set(expression, number);
    return number;
  }

  /** All of an expression but its parts. */
  #own(expression: Expression): string {
    const { kind } = expression;
    switch (kind) {
      case 'literal':
        return `${kind} ${valueText(expression.value)}`;
      case 'field': {
        const path = expression.path.map((name) => name.toLowerCase());
        return `${kind} ${JSON.stringify(path.length > 1 && path[0] === this.#alias ? path.slice(1) : path)}`;
      }
      case 'unary':
      case 'binary':
        return `${kind} ${expression.operator}`;
      case 'like':
      case 'between':
      case 'in':
      case 'is null':
        return `${kind} ${expression.negated}`;
      case 'case':
        return `${kind} ${expression.operand !== null} ${expression.otherwise !== null}`;
      case 'cast':
        return `${kind} ${expression.type} ${expression.safe}`;
      case 'call': {
        const { name, star, distinct, over } = expression;
        const orders = over?.orderBy.map(({ descending }) => descending);
        const shape = over && [over.partitionBy.length, orders, over.limit?.micros, over.when !== null];
        return `${kind} ${JSON.stringify([name, star, distinct, shape])}`;
      }
      case 'window id':
        return kind;
    }
  }
}
