import { section, text } from './values.ts';

/** The word of `registry.gatewayKey` for the key that the gateway makes and keeps itself. */
export const KEEP = 'keep';

export const RegistrySchema = section({
  trust: text('a file name', 'fleet.pub.jwk')
    .describe(
      'Public key (JWK, P-256) whose signature a registry document must have. Left out: any document that decrypts is taken.',
    )
    .exactOptional(),
  gatewayKey: text('keep, or a file name', 'gateway-key.jwk')
    .describe(
      'Private key (JWK, P-256) that registry documents are encrypted to: a file, or `keep` for one that is made once and kept in `dataDir/keys`.',
    )
    .default(KEEP),
}).describe('Whose word counts on children and their credentials that come from upstream.');
