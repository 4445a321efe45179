import { MODULES_MAX, type Auth, type Identity, type ModuleIdentity } from '../registry/identity.ts';
import { newSasKey } from '../registry/registry.ts';
import { FleetError } from './fleet-error.ts';

/*
 * What can be done to the children of a registry document. Nothing is changed in place. Throws a {@link FleetError} that says why
 * it cannot be done.
 */
export type Children = readonly Identity[];

export function withChild(children: Children, added: Identity): Children {
  if (children.some(({ id }) => id === added.id)) throw new FleetError(`there is a child ${added.id} already`);
  return [...children, added];
}

export function withModule(children: Children, child: string, module: ModuleIdentity): Children {
  return changed(children, child, (found) => {
    if (found.modules.some(({ id }) => id === module.id))
      throw new FleetError(`${child} has a module ${module.id} already`);
    if (found.modules.length >= MODULES_MAX)
      throw new FleetError(`${child} has ${MODULES_MAX} modules, the most there may be`);
    return { ...found, modules: [...found.modules, module] };
  });
}

/** Without a child and its modules, or without one module. */
export function without(children: Children, child: string, module: string | null): Children {
  if (module === null) {
    mustHave(children, child);
    return children.filter(({ id }) => id !== child);
  }
  return changed(children, child, (found) => {
    moduleOf(found, module);
    return { ...found, modules: found.modules.filter(({ id }) => id !== module) };
  });
}

export function withStatus(children: Children, child: string, status: Identity['status']): Children {
  return changed(children, child, (found) => ({ ...found, status }));
}

/** With `fresh` as the primary key; the one before goes on as the secondary, or with `both` neither goes on. */
export function withKey(
  children: Children,
  child: string,
  module: string | null,
  fresh: string,
  both: boolean,
): { readonly children: Children; readonly auth: Auth } {
  const found = mustHave(children, child);
  const { auth } = module === null ? found : moduleOf(found, module);
  if (!('sas' in auth)) throw new FleetError(`${module ?? child} has no shared access keys`);
  const { primaryKey, secondaryKey = newSasKey() } = auth.sas;
  // Made anew because another's change came between: the key of before is the secondary already.
  const kept = primaryKey === fresh ? secondaryKey : primaryKey;
  const made: Auth = { sas: { primaryKey: fresh, secondaryKey: both ? newSasKey() : kept } };
  const next = changed(children, child, (each) =>
    module === null
      ? { ...each, auth: made }
      : { ...each, modules: each.modules.map((one) => (one.id === module ? { id: module, auth: made } : one)) },
  );
  return { children: next, auth: made };
}

function changed(children: Children, child: string, change: (found: Identity) => Identity): Children {
  const next = change(mustHave(children, child));
  return children.map((each) => (each.id === child ? next : each));
}

function mustHave(children: Children, child: string): Identity {
  const found = children.find(({ id }) => id === child);
  if (found === undefined) throw new FleetError(`there is no child ${child} in the registry document`);
  return found;
}

function moduleOf(child: Identity, module: string): ModuleIdentity {
  const found = child.modules.find(({ id }) => id === module);
  if (found === undefined) throw new FleetError(`${child.id} has no module ${module}`);
  return found;
}
