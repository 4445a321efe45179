import { gatewayMeant, withFleet, type FleetCommandOptions } from './fleet-broker.ts';
import { FINE, printJson, say } from './output.ts';

export interface FleetTwinOptions extends FleetCommandOptions {
  readonly module?: string;
}

/** `holdfast fleet twin get CHILD`: both sides, as the broker retains them. */
export function fleetTwinGet(child: string, options: FleetTwinOptions): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    printJson(await fleet.twins.get({ gateway: gatewayMeant(options, place), child, module: options.module }));
    return FINE;
  });
}

/** `holdfast fleet twin set CHILD`: changes what a child shall be. */
export function fleetTwinSet(
  child: string,
  options: FleetTwinOptions & { readonly desired: unknown; readonly replace?: boolean },
): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const of = { gateway: gatewayMeant(options, place), child, module: options.module };
    const desired = await fleet.twins.set(of, options.desired, options);
    if (options.json === true) printJson({ version: desired['$version'], desired });
    else {
      say(`the desired properties have version ${Number(desired['$version'])}; ${child} reports:`);
      printJson((await fleet.twins.get(of)).reported);
    }
    return FINE;
  });
}
