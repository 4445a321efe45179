import type { Listed, ListedChild } from '../health/status.ts';
import type { ListedIdentity, ShownIdentity } from '../registry/desk.ts';
import { atDesk } from './children-desk.ts';
import { handout } from './children-handout.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { ask } from './control-client.ts';
import { agoText, FINE, print, printJson, say, table } from './output.ts';
import { gatewayRuns } from './spool-source.ts';

/** How a child is to a gateway that runs. */
interface Presence {
  readonly connected: boolean;
  /** Since when it is connected, or away; null: it has not been there since the gateway started. */
  readonly since: string | null;
  readonly lastSeenAt: string | null;
}

/** `holdfast children list`: who may connect, how each shows who it is, and whether it is there. */
export async function listChildren(options: CommonOptions): Promise<number> {
  const where = configured(options.config);
  const found = await atDesk(where, (desk) => desk<ListedIdentity[]>({ do: 'list' }));
  const there = await presences(where);
  const presence = (id: string) => ({ presence: there?.get(id) ?? null });
  if (options.json === true) {
    printJson(
      found.map(({ modules, ...child }) => ({
        ...child,
        ...presence(child.id),
        modules: modules.map((module) => ({ ...module, ...presence(`${child.id}/${module.id}`) })),
      })),
    );
  } else if (found.length === 0) say('no child may connect yet; add one with: holdfast children add ID --sas');
  else {
    const last = (id: string) => (there === null ? [] : [presenceText(there.get(id))]);
    const rows = found.flatMap(({ id, status, auth, origin, gateway, modules }) => [
      [gateway === true ? `${id} (gateway)` : id, status, auth ?? 'no credentials yet', origin, ...last(id)],
      ...modules.map((module) => {
        const name = `${id}/${module.id}`;
        return [name, status, module.auth, origin, ...last(name)];
      }),
    ]);
    print(table(['ID', 'STATUS', 'AUTH', 'ORIGIN', ...(there === null ? [] : ['PRESENCE'])], rows));
  }
  return FINE;
}

/** Of those that may connect now, by their ids; null when no gateway runs, or nobody can connect. */
async function presences(where: Configured): Promise<Map<string, Presence> | null> {
  if (!(await gatewayRuns(where))) return null;
  const found = new Map<string, Presence>();
  for await (const item of ask<Listed>(where, 'list'))
    if (item.type === 'child' && item.kind === 'connected') found.set(item.id, presenceOf(item));
  return found.size === 0 ? null : found;
}

function presenceOf({ state, since, lastSeenAt = null }: ListedChild): Presence {
  return { connected: state === 'connected', since: lastSeenAt === null ? null : since, lastSeenAt };
}

function presenceText(presence: Presence | undefined): string {
  if (presence === undefined) return '';
  const { connected, since, lastSeenAt } = presence;
  if (connected) return `connected, for ${agoText(since).replace(/ ago$/, '')}`;
  return lastSeenAt === null ? 'absent' : `absent, heard ${agoText(lastSeenAt)}`;
}

export interface ShowOptions extends CommonOptions {
  readonly secrets?: boolean;
}

/** `holdfast children show ID`: all that is known of it; its keys only with `--secrets`. */
export async function showChild(child: string, options: ShowOptions): Promise<number> {
  const where = configured(options.config);
  const secrets = options.secrets === true;
  const found = await atDesk(where, (desk) => desk<ShownIdentity>({ do: 'show', child, secrets }));
  const withConnection = {
    ...found,
    ...connection(found, null),
    modules: found.modules.map((each) => ({ ...each, ...connection(each, each.id) })),
  };
  if (options.json === true) {
    printJson(withConnection);
    return FINE;
  }
  const { status, origin, grants } = found;
  const lines: [string, string][] = [
    ['id', child],
    ['status', status],
    ['origin', origin],
    ...(found.gateway === true ? [['gateway', 'with children of its own'] as [string, string]] : []),
  ];
  for (const each of [withConnection, ...withConnection.modules]) {
    if (each !== withConnection) lines.push(['module', each.id]);
    lines.push(['auth', each.auth ?? 'no credentials yet']);
    for (const thumbprint of each.thumbprints ?? []) lines.push(['thumbprint', thumbprint]);
    if (each.sas !== undefined) lines.push(['primary key', each.sas.primaryKey]);
    if (each.sas?.secondaryKey !== undefined) lines.push(['secondary key', each.sas.secondaryKey]);
    if (each.connectionString !== undefined) lines.push(['connection string', each.connectionString]);
  }
  for (const [what, whom] of Object.entries(grants)) if (whom.length > 0) lines.push([`may ${what}`, whom.join(', ')]);
  for (const [name, value] of lines) print(`${name.padEnd(18)} ${value}`);
  return FINE;

  function connection({ sas }: Pick<ShownIdentity, 'sas'>, module: string | null): { connectionString?: string } {
    const { connectionString } =
      sas === undefined ? { connectionString: null } : handout(where, child, module, { sas });
    return connectionString === null ? {} : { connectionString };
  }
}
