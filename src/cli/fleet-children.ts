import type { ChildrenOutcome, ChildrenWait, Fleet } from '../fleet/fleet.ts';
import { identityIn } from '../registry/exported-identity.ts';
import { authKind, type Auth, type Identity } from '../registry/identity.ts';
import { authOf, childOf, moduleOf, type AuthOptions } from './children-add.ts';
import { handoutBy, sayHandout, type Handout } from './children-handout.ts';
import { formsIn } from './children-import.ts';
import { gatewayMeant, withFleet, type FleetCommandOptions } from './fleet-broker.ts';
import { CliError, FINE, FOUND_A_PROBLEM, print, printable, printJson, say, table } from './output.ts';

/** Options of every command that changes children. */
export interface ChangeOptions extends FleetCommandOptions, ChildrenWait {
  readonly hostName?: string;
}

/** `holdfast fleet children list`: who may connect to a gateway, as its registry document says. */
export function fleetChildrenList(
  options: FleetCommandOptions & ChildrenWait & { secrets?: boolean },
): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const gateway = gatewayMeant(options, place);
    const found = await fleet.children.get(gateway, options);
    const children = found?.children ?? [];
    if (options.json === true) {
      const shown = options.secrets === true ? children : children.map(withoutSecrets);
      printJson({ gateway, version: found?.version ?? null, issuedAt: found?.issuedAt ?? null, children: shown });
    } else if (found === null)
      say(`${gateway} has no registry document; make one with: holdfast fleet children add ID --sas`);
    else {
      say(`version ${found.version}, issued ${found.issuedAt}`);
      const rows = children.flatMap(({ id, status, auth, gateway: below, modules }) => [
        [id, status, authKind(auth), below === true ? 'gateway' : ''],
        ...modules.map((module) => [`${id}/${module.id}`, status, authKind(module.auth), '']),
      ]);
      print(table(['ID', 'STATUS', 'AUTH', ''], rows));
    }
    return FINE;
  });
}

/** As `children list` of a gateway shows them. */
function withoutSecrets({ auth, modules, ...child }: Identity) {
  return {
    ...child,
    auth: authKind(auth),
    modules: modules.map((module) => ({ id: module.id, auth: authKind(module.auth) })),
  };
}

export interface FleetAddOptions extends ChangeOptions, AuthOptions {
  readonly module?: string;
  readonly disabled?: boolean;
  readonly asGateway?: boolean;
  readonly brokerPasswordFile?: string;
}

/** `holdfast fleet children add ID`: a child, or a module of one; says what became of it and what to hand to it. */
export async function fleetChildrenAdd(id: string, options: FleetAddOptions): Promise<number> {
  const auth = await authOf(options);
  const module = moduleOf(options);
  const { brokerPasswordFile, passwordFile: _, ...others } = options;
  const calling = { ...others, ...(brokerPasswordFile !== undefined && { passwordFile: brokerPasswordFile }) };
  return withFleet(calling, async (fleet, place) => {
    const gateway = gatewayMeant(options, place);
    const outcome = await (module === null
      ? fleet.children.add(gateway, childOf(id, auth, options), options)
      : fleet.children.addModule(gateway, id, { id: module, auth }, options));
    return told({ fleet, gateway, options, did: 'added', child: id, module, outcome, auth });
  });
}

/** `holdfast fleet children remove ID`. */
export function fleetChildrenRemove(id: string, options: ChangeOptions & { module?: string }): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const gateway = gatewayMeant(options, place);
    const module = options.module ?? null;
    const outcome = await fleet.children.remove(gateway, id, module, options);
    return told({ fleet, gateway, options, did: 'removed', child: id, module, outcome, auth: null });
  });
}

/** `holdfast fleet children enable|disable ID`. */
export function fleetChildrenStatus(status: Identity['status'], id: string, options: ChangeOptions): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const gateway = gatewayMeant(options, place);
    const outcome = await fleet.children.setStatus(gateway, id, status, options);
    return told({ fleet, gateway, options, did: status, child: id, module: null, outcome, auth: null });
  });
}

/** `holdfast fleet children rotate-key ID`. */
export function fleetChildrenRotateKey(
  id: string,
  options: ChangeOptions & { module?: string; both?: boolean },
): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const gateway = gatewayMeant(options, place);
    const { auth, outcome } = await fleet.children.rotateKey(gateway, id, options);
    return told({ fleet, gateway, options, did: 'rotated', child: id, module: options.module ?? null, outcome, auth });
  });
}

/** `holdfast fleet children import FILE`: many in one version; if one cannot be read or added, none is. */
export function fleetChildrenImport(file: string, options: ChangeOptions & { replace?: boolean }): Promise<number> {
  const children = formsIn(file).map((form, index) => {
    const read = identityIn(form);
    if ('fault' in read) throw new CliError(`${printable(read.id ?? `number ${index + 1}`)}: ${printable(read.fault)}`);
    return read.identity;
  });
  return withFleet(options, async (fleet, place) => {
    const gateway = gatewayMeant(options, place);
    const outcome = await fleet.children.addAll(gateway, children, options);
    if (options.json === true) printJson({ gateway, imported: children.map(({ id }) => id), ...outcome });
    else {
      say(`${children.length} children imported into the registry document of ${gateway}`);
      sayOutcome(gateway, outcome);
    }
    return verdict(outcome);
  });
}

interface Told {
  readonly fleet: Fleet;
  readonly gateway: string;
  readonly options: ChangeOptions;
  readonly did: 'added' | 'removed' | 'rotated' | 'enabled' | 'disabled';
  readonly child: string;
  readonly module: string | null;
  readonly outcome: ChildrenOutcome;
  /** What is handed out; null: nothing is. */
  readonly auth: Auth | null;
}

async function told({ fleet, gateway, options, did, child, module, outcome, auth }: Told): Promise<number> {
  const whom = module === null ? child : `${child}/${module}`;
  const given = auth === null ? null : await handed(fleet, gateway, options, child, module, auth);
  if (options.json === true) printJson({ [did]: whom, gateway, ...outcome, ...given });
  else {
    say(`${did} ${whom} in the registry document of ${gateway}`);
    sayOutcome(gateway, outcome);
    if (given !== null && auth !== null) {
      if (given.hostName === null) say(`${gateway} does not say where its children connect: name it with --host-name`);
      sayHandout(given, child, module, auth);
      if (given.hostName !== null) say(`it must trust what \`holdfast provision ca\` prints on ${gateway}`);
    }
  }
  return outcome.refused.some(({ id }) => id === child) ? FOUND_A_PROBLEM : verdict(outcome);
}

/** With names from the gateway's own status, or as they are given. */
async function handed(
  fleet: Fleet,
  gateway: string,
  { hostName }: ChangeOptions,
  child: string,
  module: string | null,
  auth: Auth,
): Promise<Handout> {
  const hub = (await fleet.gateway(gateway))?.hub ?? null;
  const named = hostName ?? hub?.hostName;
  const names = named === undefined ? null : { hostName: named, iothubName: hub?.iothubName ?? null, authority: null };
  return handoutBy(names, child, module, auth);
}

function sayOutcome(gateway: string, { state, version, why, refused, unseen }: ChildrenOutcome): void {
  const what = {
    applied: `${gateway} has applied version ${version}`,
    refused: `${gateway} refuses version ${version}: ${why ?? 'it does not say why'}; what it had before stays`,
    offline: `${gateway} is offline: version ${version} will be applied when it returns`,
    silent: `${gateway} is online, and has not said what it makes of version ${version}${why === null ? '' : `; it says: ${why}`}`,
    published: `version ${version} is published`,
  }[state];
  say(printable(what));
  for (const { id, why: because } of refused) say(printable(`${gateway} does not take ${id}: ${because}`));
  if (unseen.length > 0)
    say(
      `whether it is enabled elsewhere is not known of: ${printable(unseen.join(', '))} (no key of yours opens their documents)`,
    );
}

function verdict({ state }: ChildrenOutcome): number {
  return state === 'refused' || state === 'silent' ? FOUND_A_PROBLEM : FINE;
}
