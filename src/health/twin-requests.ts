import type { Config } from '../config/schema.ts';
import { nearest } from '../query/nearest.ts';
import type { Registry } from '../registry/registry.ts';
import type { Twins, TwinFault, TwinView } from '../twins/twins.ts';
import { RequestRefused, type Handler } from './control-server.ts';

/** What the command line may ask about twins. */
export interface TwinsAsked {
  twins(): Promise<Pick<Twins, 'read' | 'desire' | 'replaceDesired'>>;
  /** All that have a twin: the gateway, its children whether wired or connected, and their modules as `child/module`. */
  twinIds(): Promise<readonly string[]>;
}

/** See {@link TwinsAsked.twinIds}. */
export function twinIds({ gateway, children }: Config, registry: Pick<Registry, 'all'>): readonly string[] {
  const registered = registry
    .all()
    .flatMap(({ id, modules }) => [id, ...modules.map((module) => `${id}/${module.id}`)]);
  return [...new Set([gateway.id, ...children.map(({ id }) => id), ...registered])];
}

/** What `twin set` answers. */
export type TwinSet = { readonly version: number } | TwinFault;

/** The requests by name. */
export function twinRequests(asked: () => TwinsAsked): Record<string, Handler> {
  const whose = async (child: unknown, module: unknown): Promise<[child: string, module: string | null]> => {
    const id = typeof module === 'string' ? `${String(child)}/${module}` : String(child);
    const ids = await asked().twinIds();
    if (ids.includes(id)) return [String(child), typeof module === 'string' ? module : null];
    const meant = nearest(id, ids);
    throw new RequestRefused(`"${id}" has no twin${meant === undefined ? '' : `; did you mean "${meant}"?`}`);
  };
  return {
    'twin get': async ({ child, module }, { send }) => {
      const who = await whose(child, module);
      send((await asked().twins()).read(...who) satisfies TwinView);
    },
    'twin set': async ({ child, module, desired, replace }, { send }) => {
      const who = await whose(child, module);
      const twins = await asked().twins();
      const done = replace === true ? twins.replaceDesired(...who, desired) : twins.desire(...who, desired);
      send((await done) satisfies TwinSet);
    },
  };
}
