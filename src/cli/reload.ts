import type { Reconfigured } from '../config/change.ts';
import { configured, type CommonOptions } from './configured.ts';
import { askOne } from './control-client.ts';
import { FINE, printJson, say } from './output.ts';

/** `holdfast reload`: the running gateway reads its configuration again, and takes up what it can. */
export async function reload(options: CommonOptions): Promise<number> {
  const done = await askOne<Reconfigured>(configured(options.config), 'reload');
  const { applied, needRestart } = done;
  say(applied.length === 0 ? 'nothing to take up' : `taken up: ${applied.join(', ')}`);
  if (needRestart.length > 0) {
    say(`changed, and waiting for a restart (\`holdfast restart\`): ${needRestart.join(', ')}`);
  }
  if (options.json === true) printJson(done);
  return FINE;
}
