import { whereabouts, type CommonOptions } from './configured.ts';
import { askOne } from './control-client.ts';
import { FINE } from './output.ts';

/** `holdfast metrics`: what the running gateway counts, for Prometheus. */
export async function metrics(options: CommonOptions): Promise<number> {
  process.stdout.write(await askOne<string>(whereabouts(options.config), 'metrics'));
  return FINE;
}
