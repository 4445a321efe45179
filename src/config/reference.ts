import type { core } from 'zod';

type JsonSchema = core.JSONSchema.JSONSchema;

/** A key of a schema. In its path `[]` stands for each item of a list and `<name>` for each key that the user chooses. */
export interface SchemaKey {
  readonly path: readonly string[];
  readonly schema: JsonSchema;
  readonly required: boolean;
}

export const EACH_ITEM = '[]';
export const ANY_NAME = '<name>';

/** Every key that a JSON Schema knows, in its order, each before those inside it. */
export function schemaKeys(schema: JsonSchema, path: readonly string[] = []): SchemaKey[] {
  const keys: SchemaKey[] = [];
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    if (typeof inner === 'boolean') continue;
    const inside = [...path, name];
    keys.push(
      { path: inside, schema: inner, required: schema.required?.includes(name) ?? false },
      ...schemaKeys(inner, inside),
    );
  }
  const { items, additionalProperties } = schema;
  if (typeof items === 'object' && !Array.isArray(items)) keys.push(...schemaKeys(items, [...path, EACH_ITEM]));
  if (typeof additionalProperties === 'object') keys.push(...schemaKeys(additionalProperties, [...path, ANY_NAME]));
  for (const branch of schema.anyOf ?? []) {
    if (typeof branch === 'object') keys.push(...schemaKeys(branch, path));
  }
  return keys;
}

/** `children[].serial.port`, `routes.<name>.priority`. */
export function keyText(path: readonly string[]): string {
  return path.join('.').replaceAll(`.${EACH_ITEM}`, EACH_ITEM);
}
