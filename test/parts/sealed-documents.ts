import { newSasKey } from '../../src/registry/registry.ts';
import { sealDocument, type WrittenDocument } from '../../src/registry/document.ts';
import { newKeyPair, type PrivateJwk, type PublicJwk } from '../../src/registry/jwk.ts';

/** The keys of a fleet: its own, its operator's, and those of two gateways. */
export const fleet = newKeyPair('sig');
export const stranger = newKeyPair('sig');
export const operator = newKeyPair('enc');
export const gateway = newKeyPair('enc');
export const otherGateway = newKeyPair('enc');

export function documentOf<Child>(version: number, children: readonly Child[], issuedAt = '2026-01-01T00:00:00.000Z') {
  return { version, issuedAt, children: [...children] };
}

/** A child with one key, or two. */
export function sasChild(id: string, primaryKey: string = newSasKey(), secondaryKey?: string, others: object = {}) {
  return { id, auth: { sas: { primaryKey, ...(secondaryKey !== undefined && { secondaryKey }) } }, ...others };
}

/** Sealed as an operator seals it: for the gateway and for the operator, signed. */
export function sealed(
  document: WrittenDocument,
  { to = [gateway.public, operator.public], by }: { to?: readonly PublicJwk[]; by?: PrivateJwk } = {},
): Promise<Buffer> {
  return sealDocument(document, to, by);
}
