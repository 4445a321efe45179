import { RequestRefused, type Handler } from '../health/control-server.ts';
import { twinIds, twinRequests } from '../health/twin-requests.ts';
import { twinsIn, withEnrolment } from './children-desk.ts';
import type { Configured } from './configured.ts';
import { askOne } from './control-client.ts';
import { CliError } from './output.ts';
import { gatewayRuns } from './spool-source.ts';

/** Asks about a twin: the gateway that runs, else its files; it need not have run yet. Rejects with a CliError. */
export async function askTwin<T>(
  where: Configured,
  request: 'twin get' | 'twin set',
  args: Record<string, unknown>,
): Promise<T> {
  if (await gatewayRuns(where)) return askOne<T>(where, request, args);
  return withEnrolment(where, async (enrolment) => {
    const { registry } = enrolment;
    const twins = twinsIn(enrolment);
    const asked = {
      twins: () => Promise.resolve(twins),
      twinIds: () => Promise.resolve(twinIds(where.config, registry)),
    };
    const handlers: Record<string, Handler> = twinRequests(() => asked);
    let answer: unknown;
    try {
      await handlers[request]!(args, { send: (given) => void (answer = given), onGone: () => undefined });
    } catch (error) {
      if (error instanceof RequestRefused) throw new CliError(error.message);
      throw error;
    }
    return answer as T;
  });
}
