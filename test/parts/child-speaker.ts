import type { Heard, Said, Speaker } from '../../src/dialects/child-dialect.ts';

/** A connected child as a dialect knows it. */
export function speaker(child: string, module: string | null = null, grants: Partial<Speaker['grants']> = {}): Speaker {
  return { child, module, grants: { invoke: [], send: [], observe: [], ...grants } };
}

/** A PUBLISH as it came. */
export function heard(topic: string, payload = '', more: Partial<Heard> = {}): Heard {
  return { topic, payload: Buffer.from(payload), retain: false, ...more };
}

/** What was said with its body as text and its properties with a prototype, as it compares best. */
export function shown(said: Said): Record<string, unknown> {
  return {
    ...said,
    ...('body' in said ? { body: said.body.toString('utf8') } : {}),
    ...('properties' in said ? { properties: { ...said.properties } } : {}),
  };
}
