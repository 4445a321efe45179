import { nearest } from '../query/nearest.ts';
import { pathText } from './problem.ts';
import type { Path } from './problem.ts';
import { ANY_NAME, EACH_ITEM, keyText } from './reference.ts';
import type { SchemaKey } from './reference.ts';

/** The error for a key that is not among `known` at `parent`: at home elsewhere, or misspelt. */
export function unknownKeyText(known: readonly SchemaKey[], parent: Path, word: string): string {
  const keys = known.map(({ path }) => ({ home: path.slice(0, -1), name: path.at(-1)! }));
  const siblings = keys.filter(({ home }) => isHome(home, parent)).map(({ name }) => name);
  const others = keys.filter(({ home }) => !isHome(home, parent));
  const wrong = `"${word}" is not a key ${parent.length === 0 ? 'at the top level' : `of ${pathText(parent)}`}`;

  const elsewhere = others.find(({ name }) => name === word);
  if (elsewhere !== undefined) return `${wrong}; it belongs ${place(elsewhere.home)}`;
  const sibling = nearest(word, siblings);
  if (sibling !== undefined) return `${wrong}; did you mean "${sibling}"?`;
  const meant = nearest(
    word,
    others.map(({ name }) => name),
  );
  const other = others.find(({ name }) => name === meant);
  if (other !== undefined) return `${wrong}; did you mean "${other.name}" ${place(other.home)}?`;
  return `${wrong}; the keys are ${siblings.join(', ')}`;
}

function isHome(home: readonly string[], parent: Path): boolean {
  return (
    home.length === parent.length &&
    home.every(
      (step, index) =>
        step === parent[index] || step === ANY_NAME || (step === EACH_ITEM && typeof parent[index] === 'number'),
    )
  );
}

function place(home: readonly string[]): string {
  return home.length === 0 ? 'at the top level' : `under ${keyText(home)}`;
}
