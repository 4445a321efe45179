import type { Listed } from '../health/status.ts';
import { configured, type CommonOptions } from './configured.ts';
import { ask } from './control-client.ts';
import { agoText, FINE, print, printable, printJson, say, spanText, table } from './output.ts';

/** `holdfast list`: children and modules, and how each is doing. */
export async function list(options: CommonOptions): Promise<number> {
  const found: Listed[] = [];
  for await (const item of ask<Listed>(configured(options.config), 'list')) found.push(item);
  if (options.json === true) {
    printJson(found);
    return FINE;
  }
  if (found.length === 0) {
    say('the configuration names no children; add some under `children:`');
    return FINE;
  }
  const head = ['ID', 'KIND', 'STATE', 'LAST READING', 'READINGS', 'MALFORMED', 'RESTARTS', 'LAST ERROR'];
  print(
    table(
      head,
      found.map((child) => [
        child.id,
        child.kind,
        stateText(child),
        agoText(child.lastReadingAt),
        String(child.readings),
        String(child.malformed),
        String(child.restarts),
        printable(child.lastError ?? ''),
      ]),
    ),
  );
  return FINE;
}

function stateText({ state, retryInMs }: Listed): string {
  return retryInMs === null ? state : `${state} (again in ${spanText(retryInMs / 1000)})`;
}
