import { EVERY_LOSSES, gatewayIn } from '../dialects/holdfast-operator.ts';
import { lossesTopic } from '../dialects/holdfast.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { fleetGuest } from '../fleet/broker.ts';
import type { GatewayView } from '../fleet/fleet.ts';
import { objectIn } from '../fleet/gateway-view.ts';
import { BrokerWatch } from './broker-watch.ts';
import { untilInterrupted } from './ending.ts';
import { fleetPlace, withFleet, type FleetCommandOptions } from './fleet-broker.ts';
import { lastLossText } from './fleet-list.ts';
import { lossText, watchEvents } from './monitor.ts';
import { CliError, FINE, print, printable, printJsonLine } from './output.ts';

export interface FleetLossesOptions extends FleetCommandOptions {
  readonly count?: number;
  readonly totals?: boolean;
}

/** `holdfast fleet losses`: what each gateway has lost so far, then each loss as it is reported. */
export async function fleetLosses(options: FleetLossesOptions): Promise<number> {
  const { gateway, json = false } = options;
  await withFleet(options, async (fleet) => {
    const one = gateway === undefined ? null : await fleet.gateway(gateway);
    if (gateway !== undefined && one === null)
      throw new CliError(`no gateway ${gateway} has ever been seen at ${fleet.url}`);
    for (const view of one === null ? await fleet.gateways() : [one]) showTotals(view, json);
    return FINE;
  });
  if (options.totals === true) return FINE;
  let left = options.count ?? Infinity;
  await new BrokerWatch({
    broker: fleetGuest(fleetPlace(options).broker, clock()),
    filters: [gateway === undefined ? EVERY_LOSSES : lossesTopic(gateway)],
    whose: `losses of ${gateway ?? 'every gateway'}`,
    heard: (topic, body) => {
      if (left-- > 0) showLoss(gatewayIn(topic), body, json);
    },
    lost: () => undefined,
    done: () => left <= 0,
    signal: untilInterrupted(),
  }).run();
  return FINE;
}

/** `holdfast fleet monitor`: messages of all gateways, or of one, as they arrive. */
export function fleetMonitor(
  options: FleetCommandOptions & { readonly child?: string; readonly count?: number },
): Promise<number> {
  const { broker } = fleetPlace(options);
  return watchEvents(fleetGuest(broker, clock()), options.gateway, options);
}

function clock(): SystemClock {
  return new SystemClock(() => true);
}

function showTotals(view: GatewayView, json: boolean): void {
  const { gateway, dropped, deadLetters, lastLoss } = view;
  if (json) {
    printJsonLine({ kind: 'totals', gateway, dropped, deadLetters, lastLoss });
    return;
  }
  const parts = Object.entries(dropped).filter(([, count]) => count > 0);
  const lost = parts.length === 0 ? 'nothing' : parts.map(([reason, count]) => `${count} ${reason}`).join(', ');
  const last = lastLossText(view);
  print(printable(`${gateway}  in all: ${lost}${last === null ? '' : `; the last: ${last}`}`));
}

function showLoss(gateway: string, body: Buffer, json: boolean): void {
  const loss = objectIn(body);
  const receivedAt = new Date().toISOString();
  if (json) {
    printJsonLine({ kind: 'loss', gateway, receivedAt, ...loss });
    return;
  }
  const what = lossText(body) ?? `a loss report that cannot be read: ${body.toString('utf8')}`;
  const source = typeof loss['child'] === 'string' ? `${gateway}/${loss['child']}` : gateway;
  print(`${receivedAt}  ${printable(`${source}, ${what}`)}`);
}
