import type { GatewayStatus } from '../health/requests.ts';
import { configured, type CommonOptions } from './configured.ts';
import { askOne } from './control-client.ts';
import { agoText, bytesText, coloured, FINE, print, printable, printJson, spanText } from './output.ts';
import { ledgerText } from './spool-text.ts';

/** `holdfast status`: the whole gateway on a few lines. */
export async function status(options: CommonOptions): Promise<number> {
  const now = await askOne<GatewayStatus>(configured(options.config), 'status');
  if (options.json === true) printJson(now);
  else for (const [name, text] of rows(now)) print(`${name.padEnd(9)} ${text}`);
  return FINE;
}

function rows(now: GatewayStatus): [string, string][] {
  const { children, spool } = now;
  const failing =
    children.failing.length === 0 ? '' : `, ${coloured('red', `failing: ${children.failing.join(', ')}`)}`;
  const trouble = spool.fault ?? (spool.full ? 'full' : null);
  const bytesPerDay = `${bytesText(spool.wear.bytesPerDay)} a day to the medium${spool.wear.measured ? '' : ' (estimated)'}`;
  return [
    [
      'gateway',
      `${now.gateway}, Holdfast ${now.version} on ${now.profile}, process ${now.pid}, up ${spanText(now.uptimeSecs)}`,
    ],
    [
      'clock',
      now.clock.known ? `known, ${now.clock.wall}` : `${coloured('yellow', 'not known')}, says ${now.clock.wall}`,
    ],
    ['upstream', upstreamText(now.upstream)],
    [
      'spool',
      `${trouble === null ? '' : `${coloured('red', printable(trouble))}; `}${bytesText(spool.fileBytes)} of ${bytesText(spool.quotaBytes)}, ${bytesPerDay}`,
    ],
    ['ledger', ledgerText(now.ledger)],
    ['children', `${children.running} of ${children.total} running${failing}`],
    ['memory', bytesText(now.memory.rssBytes)],
  ];
}

function upstreamText(upstream: GatewayStatus['upstream']): string {
  if (upstream === null) return coloured('yellow', 'none is configured: messages are stored and sent nowhere');
  const { state, url, since, protocol, inFlight, sent, lastError, retryInMs } = upstream;
  if (state === 'online') {
    return `${coloured('green', 'online')} at ${url} (MQTT ${protocol}) since ${agoText(since)}, ${sent} sent, ${inFlight} in flight`;
  }
  const again = retryInMs === null ? '' : `, again in ${spanText(retryInMs / 1000)}`;
  const why = lastError === null ? '' : `: ${printable(lastError)}`;
  return `${coloured('yellow', state)} for ${url}${again}${why}`;
}
