import { ok, skip, warn, type Check, type Finding } from './check.ts';
import type { Neighbour, Scene } from './scene.ts';

/** Mailboxes that are named. */
const NAMED_MAX = 5;

/** Whether there is room for what is for children, who may be away. None without a hub. */
export function mailboxChecks({ loaded, gateway }: Scene): Check[] {
  if (!('config' in loaded) || loaded.config.hub === undefined) return [];
  const about = 'there is room for messages that wait for children';
  return [{ id: 'hub-mailboxes', about, needs: ['config'], run: () => mailboxes(gateway) }];
}

function mailboxes(gateway: Neighbour): Finding {
  if (gateway.is !== 'running') return skip('no gateway runs that could be asked');
  const { hub } = gateway.status;
  if (hub === null) return skip('nobody can connect');
  const { full, fullCount, queued } = hub;
  if (fullCount === 0) return ok(`there is; ${queued} wait`);
  const named = full.slice(0, NAMED_MAX).map(({ child, connected, queued: waiting, overflow }) => {
    const where = connected ? 'connected, and does not take them' : 'away';
    return `${child} (${where}; ${waiting} wait, ${overflow} were refused)`;
  });
  const more = fullCount > named.length ? `, and ${fullCount - named.length} more` : '';
  return warn(
    `what is sent to these is refused, their mailboxes are full: ${named.join(', ')}${more}`,
    'have them connect and subscribe to their commands; one that does not come back is taken out where it was registered (here: holdfast children remove ID), with what waits for it; for more room raise hub.limits.queuedMessages or queuedBytes',
  );
}
