import type { Listed, ListedChild, ListedModule } from '../health/status.ts';
import { whereabouts, type CommonOptions } from './configured.ts';
import { ask } from './control-client.ts';
import { moduleState } from './module-text.ts';
import { agoText, bytesText, FINE, print, printable, printJson, say, spanText, table } from './output.ts';

/** `holdfast list`: children and modules, and how each is doing. */
export async function list(options: CommonOptions): Promise<number> {
  const found: Listed[] = [];
  for await (const item of ask<Listed>(whereabouts(options.config), 'list')) found.push(item);
  if (options.json === true) {
    printJson(found);
    return FINE;
  }
  if (found.length === 0) {
    say('the configuration names neither children nor modules; add some under `children:`');
    return FINE;
  }
  const children = found.filter((each) => each.type === 'child');
  const modules = found.filter((each) => each.type === 'module');
  if (children.length > 0) {
    const head = ['ID', 'KIND', 'STATE', 'LAST READING', 'READINGS', 'MALFORMED', 'RESTARTS', 'LAST ERROR'];
    print(table(head, children.map(childRow)));
  }
  if (children.length > 0 && modules.length > 0) print('');
  if (modules.length > 0) {
    const counts = ['IN', 'OUT', 'LATE', 'EARLY', 'UNORDERED', 'DROPPED', 'REFUSED'];
    const head = ['MODULE', 'STATE', 'LAST OUTPUT', ...counts, 'HOLDS', 'LAST ERROR'];
    print(table(head, modules.map(moduleRow)));
  }
  return FINE;
}

function childRow(child: ListedChild): string[] {
  const { id, kind, lastReadingAt, lastSeenAt, readings, malformed, restarts, lastError } = child;
  const counts = [readings, malformed, restarts].map(String);
  const last = typeof lastSeenAt !== 'string' ? agoText(lastReadingAt) : `heard ${agoText(lastSeenAt)}`;
  return [id, kind, stateText(child), last, ...counts, printable(lastError ?? '')];
}

function moduleRow(module: ListedModule): string[] {
  const { id, fault, lastOutput, in: taken, out, late, early, unordered, dropped, bounded, held, tables } = module;
  const counts = [taken, out, late, early, unordered, dropped, bounded].map(String);
  const error = printable(fault ?? tables[0] ?? module.firstFault ?? '');
  return [id, moduleState(module), agoText(lastOutput), ...counts, bytesText(held.bytes), error];
}

function stateText({ state, since, retryInMs }: ListedChild): string {
  if (state === 'connected') return `connected for ${agoText(since).replace(/ ago$/, '')}`;
  return retryInMs === null ? state : `${state} (again in ${spanText(retryInMs / 1000)})`;
}
