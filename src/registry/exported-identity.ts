import * as z from 'zod';
import { identityFault, IdentitySchema, type Identity } from './identity.ts';

/** A child that was read, or why not; `id` when that much could be read. */
export type ReadIdentity = { readonly identity: Identity } | { readonly fault: string; readonly id: string | null };

/**
 * Azure IoT Hub's export of its devices (`ExportImportDevice`: "Import and export IoT Hub device identities in bulk"), and what
 * its command line prints of one (`deviceId` in place of `id`). Only what matters here; modules come without their devices.
 */
const ExportedSchema = z.object({
  id: z.string().optional(),
  deviceId: z.string().optional(),
  moduleId: z.string().nullish(),
  status: z.string().nullish(),
  authentication: z.object({
    type: z.string().nullish(),
    symmetricKey: z.object({ primaryKey: z.string().nullish(), secondaryKey: z.string().nullish() }).nullish(),
    x509Thumbprint: z
      .object({ primaryThumbprint: z.string().nullish(), secondaryThumbprint: z.string().nullish() })
      .nullish(),
  }),
});

/** Reads a child as the registry document has it, or as Azure IoT Hub exports it. */
export function identityIn(form: unknown): ReadIdentity {
  const exported = ExportedSchema.safeParse(form);
  const own = IdentitySchema.safeParse(exported.success ? converted(exported.data) : form);
  if (own.success) {
    const module = exported.success ? exported.data.moduleId : undefined;
    if (module === undefined || module === null || module === '') return { identity: own.data };
    return { fault: 'is a module: add it with `children add ID --module M`', id: own.data.id };
  }
  const { id } = (typeof form === 'object' && form !== null ? form : {}) as { id?: unknown };
  return { fault: identityFault(own.error), id: typeof id === 'string' ? id : null };
}

function converted({ id, deviceId, status, authentication }: z.output<typeof ExportedSchema>): unknown {
  return { id: id ?? deviceId, status: status?.toLowerCase() ?? 'enabled', auth: auth(authentication) };
}

/** An export names the kind, or has keys or thumbprints only where they count. */
function auth({ type, symmetricKey, x509Thumbprint }: z.output<typeof ExportedSchema>['authentication']): unknown {
  const kind = type?.toLowerCase();
  if (kind === 'certificateauthority') return { x509: { ca: true } };
  const thumbprints = [x509Thumbprint?.primaryThumbprint, x509Thumbprint?.secondaryThumbprint].filter(Boolean);
  if (kind === 'selfsigned' || (kind === undefined && thumbprints.length > 0)) return { x509: { thumbprints } };
  const { primaryKey, secondaryKey } = symmetricKey ?? {};
  return { sas: { primaryKey, ...(secondaryKey && { secondaryKey }) } };
}
