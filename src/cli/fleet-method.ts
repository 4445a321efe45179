import { gatewayMeant, withFleet, type FleetCommandOptions } from './fleet-broker.ts';
import { FINE, FOUND_A_PROBLEM, printJson, say } from './output.ts';

export interface FleetInvokeOptions extends FleetCommandOptions {
  readonly module?: string;
  readonly payload?: unknown;
  readonly timeout: number;
}

/** `holdfast fleet method invoke CHILD NAME`. */
export function fleetMethodInvoke(child: string, name: string, options: FleetInvokeOptions): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const of = { gateway: gatewayMeant(options, place), child, module: options.module };
    const { status, payload } = await fleet.invoke(of, name, options.payload ?? null, options.timeout);
    if (options.json === true) printJson({ status, payload });
    else {
      say(`status ${status}`);
      printJson(payload);
    }
    return status >= 400 ? FOUND_A_PROBLEM : FINE;
  });
}
