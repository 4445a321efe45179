import type { Restarted } from '../health/requests.ts';
import { configured, whereabouts, type CommonOptions, type Whereabouts } from './configured.ts';
import { askOne } from './control-client.ts';
import { CliError, FINE, printJson, say, spanText } from './output.ts';

/** Drivers get 5 s to stop, one after the other at worst; then they start. */
const RESTART_MS_MAX = 60_000;
/** How long systemd may take to start the gateway again, ms, and how often that is looked at. */
const BACK_MS_MAX = 60_000;
const LOOK_EVERY_MS = 250;

/** `holdfast restart [child]`: one driver, or everything. */
export async function restart(child: string | undefined, options: CommonOptions): Promise<number> {
  // A gateway that is started again needs a configuration that can be used; a driver has the one of its gateway.
  const where = child === undefined ? configured(options.config) : whereabouts(options.config);
  const asked = child === undefined ? {} : { child };
  const done = await askOne<Restarted>(where, 'restart', asked, { silenceMsMax: RESTART_MS_MAX });
  if ('children' in done) {
    if (child === undefined) {
      say(
        'this gateway was not started by systemd, so nobody would start it again: it goes on, and its drivers were restarted',
      );
    }
    say(done.children.length === 0 ? 'there are no children' : `restarted: ${done.children.join(', ')}`);
    if (options.json === true) printJson({ restarted: 'children', ...done });
    return FINE;
  }
  say(`process ${done.pid} stops; systemd starts it again`);
  const began = performance.now();
  const pid = await back(where, done.pid);
  say(`process ${pid} runs, ${spanText((performance.now() - began) / 1000)} later`);
  if (options.json === true) printJson({ restarted: 'gateway', pid, pidBefore: done.pid });
  return FINE;
}

/** Resolves with the process that answers in place of `before`. */
async function back(where: Whereabouts, before: number): Promise<number> {
  const deadline = performance.now() + BACK_MS_MAX;
  while (performance.now() < deadline) {
    await new Promise<void>((resolve) => {
      setTimeout(resolve, LOOK_EVERY_MS);
    });
    const pid = await askOne<{ pid: number }>(where, 'status').then(
      (status) => status.pid,
      // Not there yet, or still opening its spool.
      () => before,
    );
    if (pid !== before) return pid;
  }
  throw new CliError(
    `the gateway stopped, and has not answered again for ${BACK_MS_MAX / 1000} s; look at: systemctl status holdfast`,
  );
}
