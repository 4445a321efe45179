import { isObject, type JsonObject } from '../twins/patch.ts';

/** What a gateway says, under `registry` of its reported properties, of the registry document. */
export interface RegistryReport {
  /** Of the one that is in force; 0: none. */
  readonly version: number;
  readonly children: number | null;
  /** Children of it that were not taken, each for itself. */
  readonly refused: readonly { readonly id: string; readonly why: string }[];
  /** Why the last one was not taken; null: it was. */
  readonly error: string | null;
}

/** Null: it says nothing. */
export function registryReport(reported: JsonObject | null): RegistryReport | null {
  const registry = reported?.['registry'];
  if (!isObject(registry)) return null;
  const { version, children, refused, error } = registry;
  return {
    version: typeof version === 'number' && Number.isSafeInteger(version) ? version : 0,
    children: typeof children === 'number' ? children : null,
    refused: (Array.isArray(refused) ? refused : [])
      .filter(isObject)
      .map(({ id, why }) => ({ id: said(id), why: said(why) })),
    error: typeof error === 'string' ? error : null,
  };
}

function said(value: unknown): string {
  return typeof value === 'string' ? value : 'what cannot be read';
}
