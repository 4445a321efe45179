import type { ListedIdentity, ShownIdentity } from '../registry/desk.ts';
import { atDesk } from './children-desk.ts';
import { handout } from './children-handout.ts';
import { configured, type CommonOptions } from './configured.ts';
import { FINE, print, printJson, say, table } from './output.ts';

/** `holdfast children list`: who may connect, and how each shows who it is. */
export async function listChildren(options: CommonOptions): Promise<number> {
  const found = await atDesk(configured(options.config), (desk) => desk<ListedIdentity[]>({ do: 'list' }));
  if (options.json === true) printJson(found);
  else if (found.length === 0) say('no child may connect yet; add one with: holdfast children add ID --sas');
  else {
    const rows = found.flatMap(({ id, status, auth, origin, modules }) => [
      [id, status, auth ?? 'no credentials yet', origin],
      ...modules.map((module) => [`${id}/${module.id}`, status, module.auth, origin]),
    ]);
    print(table(['ID', 'STATUS', 'AUTH', 'ORIGIN'], rows));
  }
  return FINE;
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
