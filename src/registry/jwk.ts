import { createECDH, createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import * as z from 'zod';

/** Largest file that is read as a key, bytes. */
const FILE_BYTES_MAX = 16_384;
/** Bytes of a coordinate, and of a private key, on P-256. */
const COORDINATE_BYTES = 32;

const coordinate = z
  .string()
  .refine((text) => /^[A-Za-z0-9_-]{43}$/.test(text) && decoded(text).length === COORDINATE_BYTES);
const point = { kty: z.literal('EC'), crv: z.literal('P-256'), x: coordinate, y: coordinate };

/*
 * JSON Web Keys (RFC 7517; RFC 7518, 6.2) on P-256, the one curve that is used here. Other members are left out when one is
 * read: `kid` is always reckoned, so that nobody can call a key by another's name.
 */
const PublicSchema = z.object(point);
const PrivateSchema = z.object({ ...point, d: coordinate });

/** What a key is for: `enc` to encrypt registry documents to, `sig` to sign them with. */
export type KeyUse = 'enc' | 'sig';

export interface PublicJwk extends z.output<typeof PublicSchema> {
  /** {@link thumbprint}. */
  readonly kid: string;
  readonly use: KeyUse;
}

export interface PrivateJwk extends PublicJwk {
  /** Secret. */
  readonly d: string;
}

/** Something is not a key that can be used. The message is for people, in one line, and repeats nothing of the key. */
export class JwkError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'JwkError';
  }
}

export interface KeyPair {
  readonly private: PrivateJwk;
  /** What others may have of it. */
  readonly public: PublicJwk;
}

export function newKeyPair(use: KeyUse): KeyPair {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const made = privateJwkIn(privateKey.export({ format: 'jwk' }), use);
  return { private: made, public: publicOf(made) };
}

/** The same key without what is secret. */
export function publicOf({ kty, crv, x, y, kid, use }: PublicJwk): PublicJwk {
  return { kty, crv, x, y, kid, use };
}

/** RFC 7638 with SHA-256, base64url. */
export function thumbprint({ crv, kty, x, y }: Pick<PublicJwk, 'crv' | 'kty' | 'x' | 'y'>): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}

/** Reads a public key. A private one is refused: it has come too far already. Throws a {@link JwkError}. */
export function publicJwkIn(value: unknown, use: KeyUse): PublicJwk {
  if (typeof value === 'object' && value !== null && 'd' in value)
    throw new JwkError('is a private key; only its public part belongs here');
  const found = PublicSchema.safeParse(value);
  if (!found.success) throw new JwkError('is not a public JWK on P-256 ({ kty: "EC", crv: "P-256", x, y })');
  mustBeFor(value, use);
  try {
    createPublicKey({ key: found.data, format: 'jwk' });
  } catch {
    throw new JwkError('is no point on P-256');
  }
  return { ...found.data, kid: thumbprint(found.data), use };
}

/** Reads a private key. Throws a {@link JwkError}. */
export function privateJwkIn(value: unknown, use: KeyUse): PrivateJwk {
  const found = PrivateSchema.safeParse(value);
  if (!found.success) throw new JwkError('is not a private JWK on P-256 ({ kty: "EC", crv: "P-256", x, y, d })');
  mustBeFor(value, use);
  const { x, y, d } = found.data;
  const pair = createECDH('prime256v1');
  try {
    pair.setPrivateKey(decoded(d));
  } catch {
    throw new JwkError('is not a private key on P-256');
  }
  // SEC 1, 2.3.3: 4, then both coordinates.
  if (!pair.getPublicKey().equals(Buffer.concat([Buffer.of(4), decoded(x), decoded(y)])))
    throw new JwkError('has a private and a public part that do not belong together');
  return { ...found.data, kid: thumbprint(found.data), use };
}

/** A key from a file of JSON. Throws a {@link JwkError} that begins with the path. */
export function jwkFile<T>(path: string, read: (value: unknown) => T): T {
  let value: unknown;
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new JwkError(`${path}: is not a file`);
    if (stat.size > FILE_BYTES_MAX)
      throw new JwkError(`${path}: has more than ${FILE_BYTES_MAX} bytes, too many for a key`);
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error instanceof JwkError) throw error;
    if (error instanceof SyntaxError) throw new JwkError(`${path}: is not JSON`);
    throw new JwkError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  try {
    return read(value);
  } catch (error) {
    throw error instanceof JwkError ? new JwkError(`${path}: ${error.message}`) : error;
  }
}

/** A key says what it is for, or does not. */
function mustBeFor(value: unknown, use: KeyUse): void {
  const said = (value as { use?: unknown }).use;
  if (said !== undefined && said !== use)
    throw new JwkError(
      use === 'sig' ? 'is a key to encrypt to, not one to sign with' : 'is a key to sign with, not one to encrypt to',
    );
}

function decoded(text: string): Buffer {
  return Buffer.from(text, 'base64url');
}
