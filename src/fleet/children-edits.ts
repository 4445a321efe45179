import { isDeepStrictEqual } from 'node:util';
import { MODULES_MAX, type Auth, type Identity, type ModuleIdentity } from '../registry/identity.ts';
import { newSasKey } from '../registry/registry.ts';
import { FleetError } from './fleet-error.ts';

/** The children of a registry document. */
export type Children = readonly Identity[];

/** Something that is done to the children. Nothing is changed in place. */
export interface Edit {
  /** Throws a {@link FleetError} that says why it cannot be done. */
  apply(children: Children): Children;
  /** Whether it has been done. */
  done(children: Children): boolean;
}

export function addition(added: Identity): Edit {
  return {
    apply: (children) => withChild(children, added),
    done: (children) => children.some((each) => isDeepStrictEqual(each, added)),
  };
}

/** Several at once; with `replace` they are all that there shall be. */
export function additions(added: Children, replace: boolean): Edit {
  return {
    apply: (children) => added.reduce(withChild, replace ? [] : children),
    done: (children) =>
      added.every((one) => children.some((each) => isDeepStrictEqual(each, one))) &&
      (!replace || children.length === added.length),
  };
}

export function moduleAddition(child: string, module: ModuleIdentity): Edit {
  return {
    apply: (children) =>
      changed(children, child, (found) => {
        if (found.modules.some(({ id }) => id === module.id))
          throw new FleetError(`${child} has a module ${module.id} already`);
        if (found.modules.length >= MODULES_MAX)
          throw new FleetError(`${child} has ${MODULES_MAX} modules, the most there may be`);
        return { ...found, modules: [...found.modules, module] };
      }),
    done: (children) =>
      children.some(({ id, modules }) => id === child && modules.some((each) => isDeepStrictEqual(each, module))),
  };
}

/** Of a child with its modules, or of one module. */
export function removal(child: string, module: string | null): Edit {
  return {
    apply: (children) => {
      if (module === null) {
        mustHave(children, child);
        return children.filter(({ id }) => id !== child);
      }
      return changed(children, child, (found) => {
        moduleOf(found, module);
        return { ...found, modules: found.modules.filter(({ id }) => id !== module) };
      });
    },
    done: (children) => {
      const found = children.find(({ id }) => id === child);
      return found === undefined || (module !== null && !found.modules.some(({ id }) => id === module));
    },
  };
}

export function statusChange(child: string, status: Identity['status']): Edit {
  return {
    apply: (children) => changed(children, child, (found) => ({ ...found, status })),
    done: (children) => children.some((each) => each.id === child && each.status === status),
  };
}

/** A new primary key; the one before goes on as the secondary, or with `both` neither goes on. */
export function rotation(child: string, module: string | null, both: boolean): Edit & { readonly made: () => Auth } {
  const primaryKey = newSasKey();
  const other = newSasKey();
  let auth: Auth = { sas: { primaryKey } };
  const keysOf = (children: Children) => {
    const found = mustHave(children, child);
    return (module === null ? found : moduleOf(found, module)).auth;
  };
  return {
    apply: (children) => {
      const before = keysOf(children);
      if (!('sas' in before)) throw new FleetError(`${module ?? child} has no shared access keys`);
      auth = { sas: { primaryKey, secondaryKey: both ? other : before.sas.primaryKey } };
      return changed(children, child, (each) =>
        module === null
          ? { ...each, auth }
          : { ...each, modules: each.modules.map((one) => (one.id === module ? { id: module, auth } : one)) },
      );
    },
    done: (children) => isDeepStrictEqual(keysOf(children), auth),
    made: () => auth,
  };
}

function withChild(children: Children, added: Identity): Children {
  if (children.some(({ id }) => id === added.id)) throw new FleetError(`there is a child ${added.id} already`);
  return [...children, added];
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
