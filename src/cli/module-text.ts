import type { ListedModule } from '../health/status.ts';
import { coloured } from './output.ts';

/** How a module is doing, in a word. */
export function moduleState({ fault, bounded }: ListedModule): string {
  if (fault !== undefined) return 'stopped';
  return bounded > 0 ? 'running, at its limits' : 'running';
}

/** All modules on a line, with those that want somebody's attention by name. */
export function modulesText(modules: readonly ListedModule[]): string {
  const named = (what: string, colour: 'red' | 'yellow', which: (module: ListedModule) => boolean): string => {
    const ids = modules.filter(which).map(({ id }) => id);
    return ids.length === 0 ? '' : `, ${coloured(colour, `${what}: ${ids.join(', ')}`)}`;
  };
  const running = modules.filter(({ fault }) => fault === undefined).length;
  return [
    `${running} of ${modules.length} running`,
    named('stopped', 'red', ({ fault }) => fault !== undefined),
    named(
      'at their limits, new groups are refused',
      'yellow',
      ({ fault, bounded }) => fault === undefined && bounded > 0,
    ),
    named('with events that they cannot read', 'yellow', ({ dropped }) => dropped > 0),
    named('with events from the future, which they do not take', 'yellow', ({ early }) => early > 0),
    named('with tables that cannot be read', 'red', ({ tables }) => tables.length > 0),
    named('whose outputs name no command', 'yellow', ({ wordless }) => wordless > 0),
  ].join('');
}
