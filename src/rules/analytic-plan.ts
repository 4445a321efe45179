import type { Expression, Select } from '../query/ast.ts';
import { familyOf } from '../query/families.ts';
import { Sameness } from '../query/sameness.ts';
import type { Numbered } from './analytic.ts';
import { placeholder, rewrite } from '../query/rewriting.ts';

/** A select whose analytic functions have become fields of its rows, by their numbers; and which they were. */
export interface Separated {
  readonly select: Select;
  readonly calls: readonly Numbered[];
}

/** Analytic functions are worked out on the rows of a source, before all else: one that is named twice, once. */
export function separate(select: Select): Separated {
  const calls: Numbered[] = [];
  const sameness = new Sameness(null);
  const numbers: number[] = [];
  const go = (expression: Expression): Expression =>
    rewrite(expression, (part) => {
      if (part.kind !== 'call' || familyOf(part) !== 'analytic') return null;
      const same = sameness.number(part);
      let number = numbers.indexOf(same);
      if (number < 0) {
        number = numbers.push(same) - 1;
        calls.push({ number, call: part });
      }
      return placeholder('analytic', number, part.at);
    });
  const separated: Select = {
    ...select,
    items: select.items.map((item) => (item.kind === 'all' ? item : { ...item, expression: go(item.expression) })),
    where: select.where && go(select.where),
    having: select.having && go(select.having),
  };
  return calls.length === 0 ? { select, calls } : { select: separated, calls };
}
