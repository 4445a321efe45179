import * as z from 'zod';
import type { core } from 'zod';
import type { YamlDocument } from './document.ts';
import { pathText } from './problem.ts';
import type { Path, Problem } from './problem.ts';
import { schemaKeys } from './reference.ts';
import type { SchemaKey } from './reference.ts';
import { unknownKeyText } from './unknown-key.ts';

/** Most unknown keys of one mapping that are named one by one: more of them mean that the file is something else. */
const UNKNOWN_KEYS_MAX = 50;

/** What a schema makes of a document: its value, or every problem with its position. */
export type Validated<T> = { readonly value: T } | { readonly problems: readonly Problem[] };

/** Checks `root`, the data of `document`, against a schema. */
export function validate<S extends z.ZodType>(
  schema: S,
  document: YamlDocument,
  root: unknown,
): Validated<z.output<S>> {
  const result = schema.safeParse(root);
  if (result.success) return { value: result.data };
  return { problems: problemsOf(document, schema, result.error.issues, []) };
}

function problemsOf(
  document: YamlDocument,
  schema: z.ZodType,
  issues: readonly core.$ZodIssue[],
  base: Path,
): Problem[] {
  // Made for unknown keys only: a good configuration never pays for it.
  let known: readonly SchemaKey[] | undefined;

  return issues.flatMap((issue): Problem[] => {
    const path = [...base, ...issue.path] as Path;
    if (issue.code === 'unrecognized_keys') {
      known ??= schemaKeys(z.toJSONSchema(schema, { io: 'input' }));
      const problems = issue.keys.slice(0, UNKNOWN_KEYS_MAX).map((key) => {
        const full = [...path, key];
        return { path: pathText(full), ...document.atKey(full, unknownKeyText(known!, path, key)) };
      });
      const others = issue.keys.slice(UNKNOWN_KEYS_MAX);
      if (others.length > 0) {
        const message = `and ${others.length} more unknown keys from here on`;
        problems.push({ path: pathText(path), ...document.atKey([...path, others[0]!], message) });
      }
      return problems;
    }
    if (issue.code === 'invalid_key') {
      return issue.issues.map(({ message }) => ({ path: pathText(path), ...document.atKey(path, message) }));
    }
    if (issue.code === 'invalid_union') {
      const branch = meantBranch(issue.errors);
      if (branch !== undefined) return problemsOf(document, schema, branch, path);
    }
    return [{ path: pathText(path), ...document.atValue(path, issue.message) }];
  });
}

/** Of the forms that a value may take, the one that its writer tried: the only one whose fault lies inside it. */
function meantBranch(errors: readonly core.$ZodIssue[][]): readonly core.$ZodIssue[] | undefined {
  const inside = errors.filter(
    (issues) =>
      !issues.some(({ path, code }) => path.length === 0 && (code === 'invalid_type' || code === 'invalid_value')),
  );
  return inside.length === 1 ? inside[0] : undefined;
}
