import type { CommandResult } from '../commands/commands.ts';
import { whereabouts, type CommonOptions } from './configured.ts';
import { askOne } from './control-client.ts';
import { FINE, FOUND_A_PROBLEM, printJson, say } from './output.ts';

/** What the gateway may take beyond the method's own time, ms. */
const SLACK_MS = 5000;

export interface InvokeOptions extends CommonOptions {
  readonly payload?: unknown;
  readonly timeout: number;
}

/** `holdfast method invoke`: a direct method, from here instead of from above. */
export async function methodInvoke(child: string, name: string, options: InvokeOptions): Promise<number> {
  const { timeout: timeoutSecs, payload = null } = options;
  const { status, payload: answer } = await askOne<CommandResult>(
    whereabouts(options.config),
    'invoke',
    { child, name, payload, timeoutSecs },
    { silenceMsMax: timeoutSecs * 1000 + SLACK_MS },
  );
  if (options.json === true) printJson({ status, payload: answer ?? null });
  else {
    say(`status ${status}`);
    printJson(answer ?? null);
  }
  return status >= 400 ? FOUND_A_PROBLEM : FINE;
}
