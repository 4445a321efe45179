import type { ModuleConfig } from '../config/schema.ts';
import { Engine, type EngineOptions } from './engine.ts';

/** What the configuration says of a module, as its engine takes it. */
export function engineOptions(module: ModuleConfig, references: EngineOptions['references'] = {}): EngineOptions {
  const { query, outOfOrder, lateArrival, onLate, idle, limits } = module;
  return {
    script: query,
    outOfOrderMs: outOfOrder,
    lateArrivalMs: lateArrival,
    onLate,
    idleMs: idle,
    limits,
    references,
  };
}

/** A module's query with tables that are empty: to find out what is wrong with it. Throws QueryProblem. */
export function trialEngine(module: ModuleConfig): Engine {
  const tables = Object.keys(module.reference).map((name) => [name, { rows: [] }] as const);
  return Engine.compile(engineOptions(module, Object.fromEntries(tables)));
}
