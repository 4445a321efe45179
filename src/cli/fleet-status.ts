import type { GatewayView } from '../fleet/fleet.ts';
import { registryReport } from '../fleet/registry-report.ts';
import { gatewayMeant, withFleet, type FleetCommandOptions } from './fleet-broker.ts';
import { lastLossText, stateText } from './fleet-list.ts';
import { agoText, CliError, FINE, FOUND_A_PROBLEM, print, printable, printJson, spanText } from './output.ts';

/** `holdfast fleet status G`: what one gateway says of itself; ends with 1 when it is offline. */
export function fleetStatus(named: string | undefined, options: FleetCommandOptions): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const gateway = named ?? gatewayMeant(options, place);
    const found = await fleet.gateway(gateway);
    if (found === null) throw new CliError(`no gateway ${gateway} has ever been seen at ${fleet.url}`);
    const { reported } = await fleet.twins.get({ gateway, child: gateway });
    const registry = registryReport(reported);
    const { report: settings } = await fleet.settings.get(gateway);
    if (options.json === true) printJson({ ...found, registry, settings });
    else {
      const rows = [
        ...viewRows(found),
        ['registry', registryText(registry)],
        [
          'settings',
          settings === null || (settings.version === null && settings.problems.length === 0)
            ? 'none from above'
            : `version ${settings.version ?? '?'}, ${settings.problems.length} problems`,
        ],
      ] as const;
      for (const [name, text] of rows) print(`${name.padEnd(9)} ${text}`);
    }
    return found.state === 'online' ? FINE : FOUND_A_PROBLEM;
  });
}

function viewRows(view: GatewayView): [string, string][] {
  const { gateway, state, since, version, backlog, dropped, deadLetters, children, hub } = view;
  const { pending, oldestAgeSecs } = backlog;
  const oldest = oldestAgeSecs === null ? '' : `, the oldest for ${spanText(oldestAgeSecs)}`;
  const lost = Object.entries(dropped).filter(([, count]) => count > 0);
  const last = lastLossText(view);
  return [
    ['gateway', printable(`${gateway}, Holdfast ${version ?? 'of an unknown version'}`)],
    ['state', `${stateText(state)}${since === null ? '' : ` since ${agoText(since)}`}`],
    ['backlog', pending === null ? 'not said' : `${pending} messages wait${oldest}`],
    [
      'losses',
      printable(lost.length === 0 ? 'none' : lost.map(([reason, count]) => `${count} ${reason}`).join(', ')) +
        (deadLetters === null || deadLetters === 0 ? '' : `; ${deadLetters} dead letters`) +
        (last === null ? '' : printable(`; the last: ${last}`)),
    ],
    ['children', children === null ? 'not said' : String(children)],
    ...(hub === null ? [] : [['hub', printable(hub.hostName)] satisfies [string, string]]),
  ];
}

function registryText(report: ReturnType<typeof registryReport>): string {
  if (report === null) return 'no document from above';
  const { version, children, refused, error } = report;
  const parts = [`version ${version}${children === null ? '' : `, ${children} children`}`];
  if (refused.length > 0) parts.push(`refused: ${refused.map(({ id, why }) => `${id} (${why})`).join(', ')}`);
  if (error !== null) parts.push(`the last document was not taken: ${error}`);
  return printable(parts.join('; '));
}
