import { createPrivateKey, createPublicKey } from 'node:crypto';
import { CompactEncrypt, CompactSign, compactVerify, errors, flattenedDecrypt, GeneralEncrypt } from 'jose';
import * as z from 'zod';
import type { GatewayKey } from './gateway-key.ts';
import { identityFault, IdentitySchema, REGISTERED_MAX } from './identity.ts';
import { privateJwkIn, publicJwkIn, type PrivateJwk, type PublicJwk } from './jwk.ts';

/*
 * The registry document: who may connect to a gateway, and how they show who they are. On the way it is
 *
 *   JWE (RFC 7516), compact for one recipient, general JSON for more: alg ECDH-ES+A256KW, enc A256GCM, kid of each recipient
 *     of either the JSON of the document
 *     or a compact JWS (RFC 7515) of it: alg ES256, kid of the signer, `aud`: the kids of the recipients
 *
 * `aud` is ours: whoever can open a document could otherwise send it on, signature and all, encrypted to another gateway's key.
 * Nothing else is understood: no compression (a bomb), no other algorithms, no unprotected shared header.
 */

/** Largest sealed document, bytes. */
export const DOCUMENT_BYTES_MAX = 4 * 2 ** 20;
/** Most keys that one document is encrypted to. */
const RECIPIENTS_MAX = 16;
/** Longest description of what is wrong, characters. */
const FAULT_CHARACTERS_MAX = 300;
const KEY_ALGORITHM = 'ECDH-ES+A256KW';
const CONTENT_ALGORITHM = 'A256GCM';
const SIGNATURE_ALGORITHM = 'ES256';

export const DocumentSchema = z.strictObject({
  /** Only grows. */
  version: z.int().min(1),
  /** RFC 3339, UTC. */
  issuedAt: z.iso.datetime(),
  /** Counted before they are looked at. */
  children: z
    .array(z.unknown())
    .max(REGISTERED_MAX, { error: ({ input }) => `${(input as unknown[]).length} children; at most ${REGISTERED_MAX}` })
    .pipe(z.array(IdentitySchema))
    .refine(
      (children) => new Set(children.map((child) => child.id)).size === children.length,
      'two children of one name',
    ),
});

export type RegistryDocument = z.output<typeof DocumentSchema>;

/** A document as it may be written: what has a default may be left out of its children. */
export interface WrittenDocument extends Omit<RegistryDocument, 'children'> {
  readonly children: readonly z.input<typeof IdentitySchema>[];
}

/** A document as it was opened. */
export interface OpenedDocument {
  readonly document: RegistryDocument;
  /** Whether the signature was there and is by the key that is trusted. */
  readonly signed: boolean;
}

/** A document is not taken, or cannot be made. The message is one line for people, and has nothing secret in it. */
export class DocumentRefused extends Error {
  constructor(message: string) {
    super(message.replaceAll(/\p{Cc}/gu, ' '));
    this.name = 'DocumentRefused';
  }
}

/**
 * Encrypts a document to public keys, signed by `signWith` before. Each can open it alone, and sees the kids of the others.
 * Rejects with a {@link DocumentRefused} when it is not a document, or too large.
 */
export async function sealDocument(
  document: WrittenDocument,
  recipients: readonly PublicJwk[],
  signWith?: PrivateJwk,
): Promise<Buffer> {
  if (recipients.length === 0 || recipients.length > RECIPIENTS_MAX)
    throw new DocumentRefused(`it is encrypted to 1 to ${RECIPIENTS_MAX} keys, not to ${recipients.length}`);
  const keys = recipients.map((jwk) => publicJwkIn(jwk, 'enc'));
  const json = Buffer.from(JSON.stringify(checked(document)), 'utf8');
  const content = signWith === undefined ? json : Buffer.from(await signed(json, keys, signWith), 'latin1');
  const bytes = Buffer.from(await encrypted(content, keys), 'latin1');
  mustFit(bytes);
  return bytes;
}

/**
 * Opens a document. With `trust`, only one that this key signed; without, any that decrypts, whose signature, if it has one,
 * says nothing then. Rejects with a {@link DocumentRefused} for whatever a stranger may send.
 */
export async function openDocument(
  bytes: Buffer,
  key: PrivateJwk | GatewayKey,
  trust: PublicJwk | null,
): Promise<OpenedDocument> {
  mustFit(bytes);
  const own = 'private' in key ? key.private : privateJwkIn(key, 'enc');
  const content = textIn(await decrypted(partsOf(bytes), own));
  if (content === null) throw new DocumentRefused('what is encrypted in it is not UTF-8 text');
  const signature = content.startsWith('{') ? null : content;
  if (signature === null && trust !== null)
    throw new DocumentRefused(`it is not signed, and registry.trust asks for the signature of ${trust.kid}`);
  const json = signature === null ? content : await payloadOf(signature, own.kid, trust);
  return { document: checked(parsed(json)), signed: signature !== null && trust !== null };
}

function mustFit({ length }: Buffer): void {
  if (length > DOCUMENT_BYTES_MAX)
    throw new DocumentRefused(`it has ${length} bytes; at most ${DOCUMENT_BYTES_MAX} are taken`);
}

function checked(value: unknown): RegistryDocument {
  const found = DocumentSchema.safeParse(value);
  if (found.success) return found.data;
  const fault = identityFault(found.error);
  throw new DocumentRefused(
    `it is not a registry document: ${fault.length > FAULT_CHARACTERS_MAX ? `${fault.slice(0, FAULT_CHARACTERS_MAX)} ...` : fault}`,
  );
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new DocumentRefused('what is encrypted in it is not JSON');
  }
}

function signed(json: Buffer, recipients: readonly PublicJwk[], key: PrivateJwk): Promise<string> {
  const { kid } = privateJwkIn(key, 'sig');
  return new CompactSign(json)
    .setProtectedHeader({ alg: SIGNATURE_ALGORITHM, kid, aud: recipients.map((each) => each.kid) })
    .sign(createPrivateKey({ key: { ...key }, format: 'jwk' }));
}

async function encrypted(content: Buffer, keys: readonly PublicJwk[]): Promise<string> {
  const header = { alg: KEY_ALGORITHM, enc: CONTENT_ALGORITHM };
  const [first] = keys;
  if (first !== undefined && keys.length === 1) {
    return new CompactEncrypt(content).setProtectedHeader({ ...header, kid: first.kid }).encrypt(publicKey(first));
  }
  const jwe = new GeneralEncrypt(content).setProtectedHeader(header);
  for (const key of keys) jwe.addRecipient(publicKey(key)).setUnprotectedHeader({ kid: key.kid });
  return JSON.stringify(await jwe.encrypt());
}

function publicKey(jwk: PublicJwk) {
  return createPublicKey({ key: { ...jwk }, format: 'jwk' });
}

/** Exactly one form for each value: else a changed document could still be one. */
const base64url = z.string().refine((text) => Buffer.from(text, 'base64url').toString('base64url') === text);
const HeaderSchema = z.looseObject({ kid: z.string().exactOptional() });

/** A JWE in the general JSON form (RFC 7516, 7.2.1), with no more than is needed. */
const JweSchema = z.strictObject({
  protected: base64url,
  recipients: z
    .array(z.strictObject({ header: HeaderSchema.exactOptional(), encrypted_key: base64url }))
    .min(1)
    .max(RECIPIENTS_MAX),
  iv: base64url,
  ciphertext: base64url,
  tag: base64url,
});

type Jwe = z.output<typeof JweSchema>;

/** Either form as the general one. */
function partsOf(bytes: Buffer): Jwe {
  const text = bytes.toString('latin1').trim();
  const found = JweSchema.safeParse(text.startsWith('{') ? jsonIn(text) : compactIn(text));
  if (!found.success) throw new DocumentRefused('it is not a JWE, compact or general JSON');
  return found.data;
}

function compactIn(text: string): unknown {
  const [head, encryptedKey, iv, ciphertext, tag, ...others] = text.split('.', 6);
  if (others.length > 0) return null;
  return { protected: head, recipients: [{ encrypted_key: encryptedKey }], iv, ciphertext, tag };
}

async function decrypted({ recipients, ...shared }: Jwe, own: PrivateJwk): Promise<Buffer> {
  const head = HeaderSchema.safeParse(jsonIn(Buffer.from(shared.protected, 'base64url').toString('utf8')));
  if (!head.success) throw new DocumentRefused('it is not a JWE: its header cannot be read');
  const kidOf = ({ header }: Jwe['recipients'][number]) => header?.kid ?? head.data.kid;
  // Who does not say which key is meant may mean ours.
  const ours = recipients.find((each) => kidOf(each) === own.kid) ?? recipients.find((each) => !kidOf(each));
  if (ours === undefined) {
    const named = recipients.map((each) => shown(kidOf(each))).join(', ');
    throw new DocumentRefused(`it is encrypted to another key (${named}); the key of this gateway is ${own.kid}`);
  }
  const { alg, enc, zip, crit } = { ...head.data, ...ours.header };
  if (alg !== KEY_ALGORITHM || enc !== CONTENT_ALGORITHM)
    throw new DocumentRefused(
      `it is encrypted by ${shown(alg)} and ${shown(enc)}; only ${KEY_ALGORITHM} and ${CONTENT_ALGORITHM} are taken`,
    );
  if (zip !== undefined || crit !== undefined)
    throw new DocumentRefused('it is compressed, or asks for an extension of JWE; neither is taken');
  try {
    const { plaintext } = await flattenedDecrypt(
      { ...shared, ...ours },
      createPrivateKey({ key: { ...own }, format: 'jwk' }),
      { keyManagementAlgorithms: [KEY_ALGORITHM], contentEncryptionAlgorithms: [CONTENT_ALGORITHM] },
    );
    return Buffer.from(plaintext);
  } catch {
    // Whatever jose says of it: all of it is made by whoever sent it, and a precise answer would help only them.
    throw new DocumentRefused(
      kidOf(ours) === undefined
        ? `it cannot be decrypted with the key of this gateway (${own.kid}): it is encrypted to another, or was changed on the way`
        : 'it cannot be decrypted: it was changed on the way',
    );
  }
}

/** What a JWS signs. */
async function payloadOf(jws: string, own: string, trust: PublicJwk | null): Promise<string> {
  const [head = '', payload = ''] = jws.split('.', 3);
  const header = HeaderSchema.safeParse(jsonIn(Buffer.from(head, 'base64url').toString('utf8')));
  if (!header.success) throw new DocumentRefused('what is encrypted in it is neither JSON nor a JWS');
  const { alg, kid, aud, crit } = header.data;
  if (alg !== SIGNATURE_ALGORITHM || crit !== undefined)
    throw new DocumentRefused(
      `it is signed by ${shown(alg)}${crit === undefined ? '' : ' with an extension'}; only ${SIGNATURE_ALGORITHM} is taken`,
    );
  if (aud !== undefined && !(Array.isArray(aud) && aud.includes(own)))
    throw new DocumentRefused('it was signed for other gateways, not for this one');
  if (trust !== null) await mustBeBy(trust, jws, kid);
  const json = textIn(Buffer.from(payload, 'base64url'));
  if (json === null) throw new DocumentRefused('what is signed in it is not UTF-8 text');
  return json;
}

async function mustBeBy(trust: PublicJwk, jws: string, kid: string | undefined): Promise<void> {
  try {
    await compactVerify(jws, publicKey(trust), { algorithms: [SIGNATURE_ALGORITHM] });
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error;
    throw new DocumentRefused(
      kid === undefined || kid === trust.kid
        ? `its signature is not by the key of registry.trust (${trust.kid})`
        : `it is signed by another key (${shown(kid)}); registry.trust is ${trust.kid}`,
    );
  }
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function textIn(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** What a stranger calls something, where it looks like a name. */
function shown(name: unknown): string {
  return typeof name === 'string' && /^[A-Za-z0-9+._:-]{1,64}$/.test(name) ? name : 'none that can be read';
}
