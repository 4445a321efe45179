import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import * as z from 'zod';
import type { RegistryDocument } from './document.ts';
import { credentialsOf, identityFault, type Auth, type Identity } from './identity.ts';
import { SealError } from './seal-key.ts';

/** The record of the last registry document that was taken. */
export const SYNC = 'registry/document';

/** A child of a document that was not taken, and why. */
export interface RefusedChild {
  readonly id: string;
  readonly why: string;
}

/** The last registry document that was taken, as it is kept beside the children that came with it. */
const SyncSchema = z.strictObject({
  version: z.int(),
  /** RFC 3339, by the clock of who issued it. */
  issuedAt: z.string(),
  /** Wall ms; null when the time was not known. */
  receivedAt: z.number().nullable(),
  /** By the key of `registry.trust`. */
  signed: z.boolean(),
  /** How many children of it were taken. */
  children: z.int(),
  refused: z.array(z.strictObject({ id: z.string(), why: z.string() })),
  /** {@link documentDigest}. */
  digest: z.string(),
});

export type Sync = z.output<typeof SyncSchema>;

/** The last one taken; null when none ever was, or it is not known. */
export function readSync(store: { get(name: string): Buffer | null }, log: Logger): Sync | null {
  try {
    const kept = store.get(SYNC);
    if (kept === null) return null;
    const found = SyncSchema.safeParse(JSON.parse(kept.toString('utf8')));
    if (found.success) return found.data;
    log.error(`which registry document was taken last cannot be read: ${identityFault(found.error)}`);
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    log.error(`which registry document was taken last cannot be read, any version is taken now: ${error.message}`);
  }
  return null;
}

/** Names what a document says, in whatever order it says it: SHA-256, base64url. */
export function documentDigest({ version, issuedAt, children }: RegistryDocument): string {
  const sorted = [...children].sort((a, b) => (a.id < b.id ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify({ version, issuedAt, children: sorted }))
    .digest('base64url');
}

/** Why a document may not follow the one that was taken last, or null when it may. The message is for people. */
export function successionFault(document: RegistryDocument, signed: boolean, last: Sync | null): string | null {
  // Without a signature anybody could give a version that nothing follows.
  if (last === null || (signed && !last.signed)) return null;
  const { version } = document;
  if (version < last.version) return `it is version ${version}, older than version ${last.version}, which was taken`;
  if (version === last.version && documentDigest(document) !== last.digest)
    return `it says something else than the version ${version} that was taken: a change needs a higher version`;
  return null;
}

/** Somebody connected, and by which credential (see {@link credentialsOf}). */
export interface Holder {
  readonly module: string | null;
  readonly credential?: string;
}

/** Whether somebody who came in as the child, or as a module of it, would come in again by the same credential, and as the same. */
export function staysIn(before: Identity, after: Identity | undefined, { module, credential }: Holder): boolean {
  if (credential === undefined || after === undefined || after.status === 'disabled') return false;
  // What a gateway may do is another thing than what a child may.
  if (Boolean(before.gateway) !== Boolean(after.gateway)) return false;
  const own = module === null ? after : after.modules.find(({ id }) => id === module);
  if (own === undefined) return false;
  // A module may also come in as its child would.
  const counting = [...credentialsOf(own.auth, subjectOf(after, module)), ...credentialsOf(after.auth, after.id)];
  return counting.includes(credential);
}

/**
 * Whom a change of a child may cost the connection: null for the child with all of its modules, or modules. Which of them it
 * really costs it depends on the credentials that they came in by: {@link staysIn}.
 */
export function disturbed(before: Identity, after: Identity | undefined): readonly (string | null)[] {
  const loses = (module: string | null, auth: Auth) =>
    credentialsOf(auth, subjectOf(before, module)).some(
      (credential) => !staysIn(before, after, { module, credential }),
    );
  // A module may have come in with its child's credential.
  if (loses(null, before.auth)) return [null, ...before.modules.map(({ id }) => id)];
  return before.modules.filter(({ id, auth }) => loses(id, auth)).map(({ id }) => id);
}

/** Hears of a child (null), or a module of one, that is gone for good. */
export type RemovedListener = (child: string, module: string | null) => void;

/** Whom there is no more after a change of a child: it (null), or modules of it. */
export function absent(before: Identity, after: Identity | undefined): Parameters<RemovedListener>[] {
  if (after === undefined) return [[before.id, null]];
  const left = before.modules.filter(({ id }) => !after.modules.some((module) => module.id === id));
  return left.map(({ id }) => [before.id, id]);
}

function subjectOf({ id }: Identity, module: string | null): string {
  return module === null ? id : `${id}/${module}`;
}

/** The last registry document that was taken, as it is shown to people and upstream. */
export interface SyncStatus {
  readonly version: number;
  /** RFC 3339, by the clock of who issued it. */
  readonly issuedAt: string;
  /** RFC 3339; null when the time was not known. */
  readonly receivedAt: string | null;
  /** By the key of `registry.trust`. */
  readonly signed: boolean;
  /** How many children of it were taken. */
  readonly children: number;
  readonly refused: readonly RefusedChild[];
}

export function syncStatus({ version, issuedAt, receivedAt, signed, children, refused }: Sync): SyncStatus {
  const received = receivedAt === null ? null : new Date(receivedAt).toISOString();
  return { version, issuedAt, receivedAt: received, signed, children, refused };
}
