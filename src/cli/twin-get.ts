import type { TwinView } from '../twins/twins.ts';
import { configured, type CommonOptions } from './configured.ts';
import { FINE, printJson } from './output.ts';
import { askTwin } from './twin-desk.ts';

export interface TwinGetOptions extends CommonOptions {
  readonly module?: string;
}

/** `holdfast twin get`: both sides, with their versions. */
export async function twinGet(child: string, options: TwinGetOptions): Promise<number> {
  printJson(await askTwin<TwinView>(configured(options.config), 'twin get', { child, module: options.module }));
  return FINE;
}
