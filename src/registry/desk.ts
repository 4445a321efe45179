import * as z from 'zod';
import type { Enrolment } from './enrolment.ts';
import {
  authKind,
  identityFault,
  IdentitySchema,
  ModuleIdentitySchema,
  type Auth,
  type AuthKind,
  type Registered,
} from './identity.ts';
import { RegistryRefusal } from './registry.ts';
import { SealError } from './seal-key.ts';

const id = z.string().min(1).max(128);
const whom = { child: id, module: id.nullable().default(null) };

/** What the command line may have done. Secrets come in made or hashed already. */
const OrderSchema = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('list') }),
  z.strictObject({ do: z.literal('show'), child: id, secrets: z.boolean().default(false) }),
  z.strictObject({ do: z.literal('add'), identity: IdentitySchema }),
  z.strictObject({ do: z.literal('add module'), child: id, module: ModuleIdentitySchema }),
  z.strictObject({ do: z.literal('remove'), ...whom }),
  z.strictObject({ do: z.literal('status'), child: id, status: z.enum(['enabled', 'disabled']) }),
  z.strictObject({ do: z.literal('rotate key'), ...whom, both: z.boolean().default(false) }),
  z.strictObject({ do: z.literal('authority'), renew: z.boolean().default(false) }),
  z.strictObject({ do: z.literal('rotate seal') }),
]);

export type Order = z.input<typeof OrderSchema>;

/** A child as `children list` shows it. */
export interface ListedIdentity {
  readonly id: string;
  readonly status: 'enabled' | 'disabled';
  /** `config`: the configuration lets it connect, and it has no credentials yet. */
  readonly origin: 'config' | 'local' | 'upstream';
  /** null: none yet. */
  readonly auth: AuthKind | null;
  /** It has children of its own. */
  readonly gateway?: true;
  readonly modules: readonly { readonly id: string; readonly auth: AuthKind }[];
}

/** The same as `children show` has it. */
export interface ShownIdentity extends Omit<ListedIdentity, 'modules'> {
  /** Not secret. */
  readonly thumbprints?: readonly string[];
  /** Only when it was asked for. */
  readonly sas?: { readonly primaryKey: string; readonly secondaryKey?: string };
  readonly grants: {
    readonly invoke: readonly string[];
    readonly send: readonly string[];
    readonly observe: readonly string[];
  };
  readonly modules: readonly Pick<ShownIdentity, 'id' | 'auth' | 'thumbprints' | 'sas'>[];
}

/** The hub's authority as `provision ca` shows it. */
export interface ShownAuthority {
  readonly certificate: string;
  readonly sha256: string;
  readonly notAfter: string;
  readonly file: string;
}

/**
 * Does what the command line asks, in a running gateway or in the files of a stopped one. What it resolves with goes to whoever
 * asked; what was changed is durable then. Rejects with a {@link RegistryRefusal} when it cannot be done.
 */
export async function carryOut(order: unknown, enrolment: Enrolment): Promise<unknown> {
  const parsed = OrderSchema.safeParse(order);
  if (!parsed.success) throw new RegistryRefusal(identityFault(parsed.error));
  const { registry } = enrolment;
  const wanted = parsed.data;
  switch (wanted.do) {
    case 'list':
      return list(enrolment);
    case 'show':
      return show(enrolment, wanted.child, wanted.secrets);
    case 'add':
      await registry.add(wanted.identity);
      return { added: wanted.identity.id };
    case 'add module':
      await registry.addModule(wanted.child, wanted.module);
      return { added: `${wanted.child}/${wanted.module.id}` };
    case 'remove':
      await registry.remove(wanted.child, wanted.module);
      return { removed: wanted.child };
    case 'status':
      await registry.setStatus(wanted.child, wanted.status);
      return { child: wanted.child, status: wanted.status };
    case 'rotate key':
      return registry.rotateKey(wanted.child, wanted.module, wanted.both);
    case 'authority':
      return authority(enrolment, wanted.renew);
    case 'rotate seal':
      try {
        await enrolment.store.rotate();
      } catch (error) {
        if (error instanceof SealError) throw new RegistryRefusal(error.message);
        throw error;
      }
      return { rotated: true };
  }
}

function list({ registry }: Enrolment): ListedIdentity[] {
  const without = registry
    .withoutCredentials()
    .map((id): ListedIdentity => ({ id, status: 'enabled', origin: 'config', auth: null, modules: [] }));
  const kept = registry.all().map(({ id, status, origin, auth, gateway, modules }): ListedIdentity => ({
    id,
    status,
    origin,
    ...(gateway === true && { gateway }),
    auth: authKind(auth),
    modules: modules.map((module) => ({ id: module.id, auth: authKind(module.auth) })),
  }));
  return [...kept, ...without].sort((a, b) => (a.id < b.id ? -1 : 1));
}

function show({ registry }: Enrolment, child: string, secrets: boolean): ShownIdentity {
  const grants = registry.grants(child);
  const found = registry.all().find(({ id }) => id === child);
  if (found === undefined) {
    if (!registry.withoutCredentials().includes(child))
      throw new RegistryRefusal(`there is no child ${child} that connects`);
    return { id: child, status: 'enabled', origin: 'config', auth: null, grants, modules: [] };
  }
  const { id, status, origin, auth, gateway, modules } = found satisfies Registered;
  return {
    id,
    status,
    origin,
    ...(gateway === true && { gateway }),
    ...shownAuth(auth, secrets),
    grants,
    modules: modules.map((module) => ({ id: module.id, ...shownAuth(module.auth, secrets) })),
  };
}

function shownAuth(auth: Auth, secrets: boolean): Pick<ShownIdentity, 'auth' | 'thumbprints' | 'sas'> {
  return {
    auth: authKind(auth),
    ...('x509' in auth && 'thumbprints' in auth.x509 && { thumbprints: auth.x509.thumbprints }),
    ...(secrets && 'sas' in auth && { sas: auth.sas }),
  };
}

function authority(enrolment: Enrolment, renew: boolean): ShownAuthority {
  if (!enrolment.hasHub)
    throw new RegistryRefusal('there is no hub in the configuration, so there is nobody to be certified');
  const certificates = enrolment.certificates();
  if (renew && certificates.authority() !== null) certificates.renewAuthority();
  const found = certificates.authority();
  if (found === null)
    throw new RegistryRefusal('the hub has its certificate from files (hub.cert), not from an authority of its own');
  return { ...found, notAfter: new Date(found.notAfter).toISOString() };
}
