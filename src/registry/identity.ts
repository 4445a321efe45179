import { createHash } from 'node:crypto';
import * as z from 'zod';
import { isPasswordHash } from './password.ts';

/** Most children with credentials. */
export const REGISTERED_MAX = 1000;
/** Most modules of one child: as many as the cloud allows a device. */
export const MODULES_MAX = 50;
/** Most thumbprints of one child: one in use, one to come. */
const THUMBPRINTS_MAX = 2;
/** A shared access key decoded, bytes. */
const SAS_KEY_BYTES_MIN = 16;
const SAS_KEY_BYTES_MAX = 64;

const id = z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, 'an id has 1 to 128 letters, digits, "-", "." or "_"');
const sasKey = z.string().refine(isSasKey, `a key is base64 of ${SAS_KEY_BYTES_MIN} to ${SAS_KEY_BYTES_MAX} bytes`);
const thumbprint = z
  .string()
  .transform((text) => text.replaceAll(/[\s:]/g, '').toUpperCase())
  .refine((text) => /^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(text), 'a thumbprint is SHA-1 or SHA-256 in hex');

/** How a child shows who it is: exactly one of the ways, as the registry document of DESIGN has it. */
export const AuthSchema = z.union(
  [
    z.strictObject({ sas: z.strictObject({ primaryKey: sasKey, secondaryKey: sasKey.exactOptional() }) }),
    z.strictObject({
      x509: z.union(
        [
          z.strictObject({ thumbprints: z.array(thumbprint).min(1).max(THUMBPRINTS_MAX) }),
          z.strictObject({ ca: z.literal(true) }),
        ],
        'x509 is { thumbprints: [...] } (one or two, SHA-1 or SHA-256 in hex) or { ca: true }',
      ),
    }),
    z.strictObject({ password: z.string().refine(isPasswordHash) }),
  ],
  `auth is { sas: { primaryKey, secondaryKey? } } (base64 of ${SAS_KEY_BYTES_MIN} to ${SAS_KEY_BYTES_MAX} bytes), { x509: { thumbprints } }, { x509: { ca: true } } or { password: "scrypt$N$r$p$salt$hash" }`,
);

export const ModuleIdentitySchema = z.strictObject({ id, auth: AuthSchema });

/** A child as the registry document has it. */
export const IdentitySchema = z.strictObject({
  id,
  status: z.enum(['enabled', 'disabled']).default('enabled'),
  gateway: z.boolean().exactOptional(),
  auth: AuthSchema,
  modules: z
    .array(ModuleIdentitySchema)
    .max(MODULES_MAX, `more than ${MODULES_MAX} modules of one child`)
    .refine((modules) => new Set(modules.map((module) => module.id)).size === modules.length, 'two modules of one name')
    .default([]),
});

export type Auth = z.output<typeof AuthSchema>;
export type ModuleIdentity = z.output<typeof ModuleIdentitySchema>;
/** A child and how it shows who it is. The auth of a module that has none of its own is that of its child. */
export type Identity = z.output<typeof IdentitySchema>;

/** Where a child's credentials come from. */
export type Origin = 'local' | 'upstream';

/** A child with its origin, as it is kept. */
export interface Registered extends Identity {
  readonly origin: Origin;
}

export const RegisteredSchema = IdentitySchema.extend({ origin: z.enum(['local', 'upstream']) });

/** What is wrong with something that should be a child, in one line. Values are not repeated: they may be keys. */
export function identityFault(error: z.ZodError): string {
  return error.issues
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ');
}

function isSasKey(text: string): boolean {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.length % 4 !== 0) return false;
  const { length } = Buffer.from(text, 'base64');
  return length >= SAS_KEY_BYTES_MIN && length <= SAS_KEY_BYTES_MAX;
}

/**
 * Names each credential that lets in by this auth: the same name for the same credential, and nothing of it can be had from
 * the name. All certificates of authorities for one subject (`child`, `child/module`) count as one.
 */
export function credentialsOf(auth: Auth, subject: string): readonly string[] {
  if ('password' in auth) return [credentialName(auth.password)];
  if ('sas' in auth)
    return [auth.sas.primaryKey, auth.sas.secondaryKey].filter((key) => key !== undefined).map(credentialName);
  return 'ca' in auth.x509 ? [credentialName(`ca ${subject}`)] : auth.x509.thumbprints.map(credentialName);
}

/** The name of a key, a thumbprint, a password's hash, or of `ca SUBJECT`. */
export function credentialName(credential: string): string {
  return createHash('sha256').update(`holdfast credential\0${credential}`).digest('base64url');
}

/** The way in one word. */
export type AuthKind = 'sas' | 'x509-thumbprint' | 'x509-ca' | 'password';

export function authKind(auth: Auth): AuthKind {
  if ('sas' in auth) return 'sas';
  if ('password' in auth) return 'password';
  return 'ca' in auth.x509 ? 'x509-ca' : 'x509-thumbprint';
}
