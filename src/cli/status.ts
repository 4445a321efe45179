import { usedPercent } from '../board/disk-space.ts';
import type { SyncStatus } from '../registry/sync.ts';
import type { GatewayStatus } from '../health/status.ts';
import { whereabouts, type CommonOptions } from './configured.ts';
import { askOne } from './control-client.ts';
import { agoText, bytesText, coloured, FINE, print, printable, printJson, spanText } from './output.ts';
import { modulesText } from './module-text.ts';
import { ledgerText, wearText } from './spool-text.ts';

/** From so much on the file counts as filled: what else lies in dataDir comes and goes. */
const FILLED_PERCENT = 99;
/** Full mailboxes that are named. */
const FULL_NAMED_MAX = 3;

/** `holdfast status`: the whole gateway on a few lines. */
export async function status(options: CommonOptions): Promise<number> {
  const now = await askOne<GatewayStatus>(whereabouts(options.config), 'status');
  if (options.json === true) printJson(now);
  else for (const [name, text] of rows(now)) print(`${name.padEnd(9)} ${text}`);
  return FINE;
}

function rows(now: GatewayStatus): [string, string][] {
  const { children, spool } = now;
  const failing =
    children.failing.length === 0 ? '' : `, ${coloured('red', `failing: ${children.failing.join(', ')}`)}`;
  return [
    [
      'gateway',
      `${now.gateway}, Holdfast ${now.version} on ${now.profile}, process ${now.pid}, up ${spanText(now.uptimeSecs)}`,
    ],
    ...(now.safeMode ? [['safe mode', safeModeText(now.safeMode)] satisfies [string, string]] : []),
    [
      'clock',
      now.clock.known ? `known, ${now.clock.wall}` : `${coloured('yellow', 'not known')}, says ${now.clock.wall}`,
    ],
    ['upstream', upstreamText(now.upstream)],
    ...settingsRow(now.settings),
    ['spool', spoolText(spool)],
    ['wear', wearText(spool.wear)],
    ['ledger', ledgerText(now.ledger)],
    ['children', `${children.running} of ${children.total} running${failing}`],
    ...(now.registry === null ? [] : [['registry', registryText(now.registry)] satisfies [string, string]]),
    ...(now.hub === null ? [] : [['hub', hubText(now.hub)] satisfies [string, string]]),
    ...(now.hubFault === null ? [] : [['hub', closedText(now.hubFault)] satisfies [string, string]]),
    ...commandsRow(now.commands),
    ...(now.below.gateways === 0 ? [] : [['gateways below', belowText(now.below)] satisfies [string, string]]),
    ...(now.modules.length === 0 ? [] : [['modules', modulesText(now.modules)] satisfies [string, string]]),
    ['memory', bytesText(now.memory.rssBytes)],
    ['board', boardText(now.board)],
  ];
}

function safeModeText({ since, why }: NonNullable<GatewayStatus['safeMode']>): string {
  const what = `since ${since}: sensors, rules and hub are off, what is stored is sent. ${printable(why)}`;
  return `${coloured('red', what)}. For an ordinary start: \`holdfast restart\``;
}

function boardText({ temperatureCelsius, power, disk, age, life, over }: GatewayStatus['board']): string {
  const known = [
    temperatureCelsius !== null && `${temperatureCelsius.toFixed(0)} C`,
    power.underVoltage !== null && `voltage ${power.underVoltage ? 'too low' : 'fine'}`,
    disk !== null && `disk ${usedPercent(disk) ?? 100} % in use, ${bytesText(disk.availableBytes)} free`,
    age.usedPercent !== null && `${age.usedPercent} % of the eMMC's life used`,
    life.daysLeft !== null && `the medium lasts ${life.daysLeft} days at this rate`,
  ].filter((each) => each !== false);
  const wrong = over.map(({ message, since }) => coloured('yellow', `${printable(message)} (since ${agoText(since)})`));
  return [...wrong, ...known].join('; ') || 'nothing is known of it';
}

/** None where nothing has come from above. */
function settingsRow({ version, applied, problems, needRestart }: GatewayStatus['settings']): [string, string][] {
  if (applied.length === 0 && problems.length === 0) return [];
  const parts = [`from above: ${applied.join(', ') || 'none'}`];
  if (needRestart.length > 0) parts.push(`after a restart: ${needRestart.join(', ')}`);
  if (problems.length > 0) {
    const more = problems.length > 1 ? `, and ${problems.length - 1} more` : '';
    parts.push(`${coloured('red', `version ${version} not taken: ${printable(problems[0]!)}`)}${more}`);
  }
  return [['settings', parts.join('; ')]];
}

function registryText({ version, receivedAt, signed, children, refused }: SyncStatus): string {
  const when = receivedAt === null ? 'at a time unknown' : agoText(receivedAt);
  const left = refused.length === 0 ? '' : `, ${coloured('yellow', `${refused.length} refused`)}`;
  return `version ${version}${signed ? ', signed' : ''}, taken ${when}: ${children} ${children === 1 ? 'child' : 'children'}${left}`;
}

function hubText({
  connected,
  registered,
  ports,
  refused,
  queued,
  full,
  fullCount,
}: NonNullable<GatewayStatus['hub']>): string {
  const where = Object.entries(ports).map(([protocol, port]) => `${protocol} ${port}`);
  const turned = Object.entries(refused).filter(([, count]) => count > 0);
  const parts = [`${connected} of ${registered} connected`, `listens on ${where.join(', ')}`];
  if (queued > 0) parts.push(`${queued} messages wait for them`);
  if (fullCount > 0) {
    const names = full.slice(0, FULL_NAMED_MAX).map(({ child }) => printable(child));
    const more = fullCount > names.length ? ` and ${fullCount - names.length} more` : '';
    parts.push(coloured('yellow', `no room for more in the mailbox of ${names.join(', ')}${more}`));
  }
  if (turned.length > 0) parts.push(`refused: ${turned.map(([what, count]) => `${count} ${what}`).join(', ')}`);
  return parts.join('; ');
}

/** None where nothing was refused. */
function commandsRow(commands: GatewayStatus['commands']): [string, string][] {
  const refused = Object.entries(commands?.refused ?? {}).filter(([, count]) => count > 0);
  if (refused.length === 0) return [];
  return [['commands', `refused: ${refused.map(([reason, count]) => `${count} ${reason}`).join(', ')}`]];
}

function closedText(fault: string): string {
  return coloured('red', `no child can connect: ${printable(fault)}`);
}

function belowText({ gateways, repeats, lossReports }: GatewayStatus['below']): string {
  const parts = [`${gateways} can be reached`];
  if (repeats > 0) parts.push(`${repeats} messages came again`);
  if (lossReports > 0) parts.push(`${lossReports} of their loss reports wait for above`);
  return parts.join('; ');
}

function spoolText(spool: GatewayStatus['spool']): string {
  const { fileBytes, quotaBytes, livePages, pageBytes, filling, full, fault, faultSecs, waitingBytes, shrinkPending } =
    spool;
  const parts: string[] = [];
  if (fault !== null) {
    const waits = `${bytesText(waitingBytes)} wait in memory`;
    parts.push(
      `${coloured('red', `cannot be written: ${printable(fault)}`)}; ${waits}; so for ${spanText(faultSecs ?? 0)}`,
    );
  }
  if (full) parts.push(coloured('yellow', 'full: the oldest are let go, or what comes is refused'));
  parts.push(`${bytesText(fileBytes)} of ${bytesText(quotaBytes)}, ${bytesText(livePages * pageBytes)} of it in use`);
  const percent = Math.floor((fileBytes / filling.targetBytes) * 100);
  if (shrinkPending) parts.push('it shrinks to the quota when it is empty');
  else if (filling.held) {
    parts.push(coloured('yellow', `others have filled the disk: it stays at ${percent} % of what it may have`));
  } else if (percent < FILLED_PERCENT) parts.push(`being filled, ${percent} % done`);
  return parts.join('; ');
}

function upstreamText(now: GatewayStatus['upstream']): string {
  if (now === null) return coloured('yellow', 'none is configured: messages are stored and sent nowhere');
  const { state, url, since, protocol, inFlight, sent, lastError, retryInMs } = now;
  if (state === 'online') {
    const held = [
      now.stalledSecs === null ? '' : coloured('yellow', `, nothing acknowledged for ${spanText(now.stalledSecs)}`),
      now.waitsForClock ? ', messages wait for the time to become known' : '',
      now.waitsForRate ? ', as fast as upstream.maxRate allows' : '',
    ].join('');
    return `${coloured('green', 'online')} at ${url} (MQTT ${protocol}) since ${agoText(since)}, ${sent} sent, ${inFlight} in flight${held}`;
  }
  const again = retryInMs === null ? '' : `, again in ${spanText(retryInMs / 1000)}`;
  const why = lastError === null ? '' : `: ${printable(lastError)}`;
  return `${coloured('yellow', state)} for ${url}${again}${why}`;
}
