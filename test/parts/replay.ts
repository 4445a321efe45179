import type { Fields } from '../../src/query/value.ts';
import { Engine, type EngineOptions, type OutputEvent } from '../../src/rules/engine.ts';

/** Midnight of a whole day, seconds since 1970: the tables of the tests count from there. */
export const MIDNIGHT = Date.UTC(2031, 4, 6) / 1000;

/** Microseconds in a second. */
const MICROS = 1_000_000;

/** An event `secs` after midnight. */
export interface Given {
  readonly secs: number;
  readonly fields?: Fields;
  /** Of several; otherwise the only one. */
  readonly input?: string;
  /** When it was accepted; otherwise at once. */
  readonly arrival?: number;
  readonly arrivalKnown?: boolean;
}

/** Seconds after midnight as microseconds since 1970. */
export function at(secs: number): number {
  return Math.round((MIDNIGHT + secs) * MICROS);
}

/** Seconds after midnight as ISO text. */
export function iso(secs: number): string {
  return new Date((MIDNIGHT + secs) * 1000).toISOString();
}

export function secsOf({ time }: OutputEvent): number {
  return (time.ms - MIDNIGHT * 1000 + time.ticks / 10_000) / 1000;
}

/** An engine for a query; throws what is wrong with it. */
export function engineFor(script: string, options: Omit<EngineOptions, 'script'> = {}): Engine {
  return Engine.compile({ script, ...options });
}

/** Feeds one event, with its time as field `t`. */
export function give(
  engine: Engine,
  { secs, fields = {}, input, arrival, arrivalKnown = true }: Given,
): readonly OutputEvent[] {
  return engine.feed(input ?? engine.inputs[0]!, {
    fields: { t: iso(secs), ...fields },
    arrival: at(arrival ?? secs),
    arrivalKnown,
  });
}

/** All that comes out, as `[secs, body]`, or `[secs, output, body]` of a query with several outputs. */
export function replay(
  script: string,
  given: readonly Given[],
  options: Omit<EngineOptions, 'script'> = {},
): unknown[] {
  const engine = engineFor(script, options);
  const out = [...given.flatMap((event) => give(engine, event)), ...engine.end()];
  return out.map((event) =>
    engine.outputs.length > 1 ? [secsOf(event), event.output, event.body] : [secsOf(event), event.body],
  );
}
