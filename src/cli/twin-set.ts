import type { TwinSet } from '../health/twin-requests.ts';
import { configured } from './configured.ts';
import { CliError, FINE, printJson, say } from './output.ts';
import { askTwin } from './twin-desk.ts';
import type { TwinGetOptions } from './twin-get.ts';

export interface TwinSetOptions extends TwinGetOptions {
  readonly desired: unknown;
  readonly replace?: boolean;
}

/** `holdfast twin set`: changes what a child shall be. */
export async function twinSet(child: string, options: TwinSetOptions): Promise<number> {
  const { module, desired, replace } = options;
  const done = await askTwin<TwinSet>(configured(options.config), 'twin set', { child, module, desired, replace });
  if ('errorCode' in done) throw new CliError(done.message);
  if (options.json === true) printJson(done);
  else say(`the desired properties have version ${done.version}`);
  return FINE;
}
