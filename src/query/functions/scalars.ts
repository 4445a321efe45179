import { DATE } from './date.ts';
import { MATH } from './math.ts';
import type { ScalarFunction } from './signature.ts';
import { STRUCTURE } from './structure.ts';
import { TEXT } from './text.ts';

/** The functions of single values, by their name in lower case. COALESCE and NULLIF are the compiler's own: they look at no more arguments than they must. */
export const SCALARS: ReadonlyMap<string, ScalarFunction> = new Map<string, ScalarFunction>(
  Object.entries({ ...MATH, ...TEXT, ...DATE, ...STRUCTURE }),
);
