import type { GatewayView } from '../fleet/fleet.ts';
import { withFleet, type FleetCommandOptions } from './fleet-broker.ts';
import { agoText, coloured, FINE, print, printable, printJson, say, spanText, table } from './output.ts';

/** `holdfast fleet list`: every gateway that the broker remembers, and how each is doing. */
export function fleetList(options: FleetCommandOptions): Promise<number> {
  return withFleet(options, async (fleet) => {
    const found = await fleet.gateways();
    if (options.json === true) printJson(found);
    else if (found.length === 0) say(`no gateway has ever been seen at ${fleet.url}`);
    else {
      const head = ['GATEWAY', 'STATE', 'SINCE', 'VERSION', 'BACKLOG', 'OLDEST', 'LAST LOSS', 'CHILDREN'];
      print(printableRows(table(head, found.map(row))));
    }
    return FINE;
  });
}

function row(view: GatewayView): string[] {
  const { gateway, state, since, version, backlog, children } = view;
  return [
    gateway,
    state,
    since === null ? '-' : agoText(since),
    version ?? '-',
    String(backlog.pending ?? '-'),
    backlog.oldestAgeSecs === null ? '-' : spanText(backlog.oldestAgeSecs),
    lastLossText(view) ?? '-',
    String(children ?? '-'),
  ];
}

/** The last loss in words; null: none is known of. */
export function lastLossText({ lastLoss }: Pick<GatewayView, 'lastLoss'>): string | null {
  if (lastLoss === null) return null;
  const { at, reason, count } = lastLoss;
  return `${count} ${reason}${at === null ? '' : ` ${agoText(at)}`}`;
}

export function stateText(state: GatewayView['state']): string {
  return coloured(state === 'online' ? 'green' : 'yellow', state);
}

function printableRows(text: string): string {
  return text.split('\n').map(printable).join('\n');
}
