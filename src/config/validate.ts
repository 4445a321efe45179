import { z } from 'zod';
import type { core } from 'zod';
import type { YamlDocument } from './document.ts';
import { pathText } from './problem.ts';
import type { Path, Problem } from './problem.ts';
import { unknownKeyText } from './unknown-key.ts';

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
  let jsonSchema: core.JSONSchema.JSONSchema | undefined;

  return issues.flatMap((issue): Problem[] => {
    const path = [...base, ...issue.path] as Path;
    if (issue.code === 'unrecognized_keys') {
      jsonSchema ??= z.toJSONSchema(schema, { io: 'input' });
      return issue.keys.map((key) => {
        const full = [...path, key];
        return { path: pathText(full), ...document.atKey(full, unknownKeyText(jsonSchema!, path, key)) };
      });
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
