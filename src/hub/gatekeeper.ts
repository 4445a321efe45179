import type { Speaker } from '../dialects/child-dialect.ts';

/** What somebody who wants in has shown. Nothing of it has been judged. */
export interface Presented {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  /** Client certificate chain as DER, leaf first; empty without one. The TLS layer asks for one and does not judge it. */
  readonly certificates: readonly Buffer[];
  /** IP address, without the port. */
  readonly address: string;
}

/** Somebody who was let in. What it is granted is what the configuration says now, whenever it is looked at. */
export interface Client extends Speaker {
  readonly dialect: 'iothub' | 'holdfast';
  /** Wall ms after which its token counts no more; null: for ever. */
  readonly expiresAt: number | null;
  /** Names the credential that let it in; nothing of it can be had from the name. */
  readonly credential?: string;
}

/**
 * Hears that a child (null) with all of its modules, or one of them, was removed, disabled, or has other keys. Whoever is connected
 * as it is cut off, but for those that `stays` names: their credential still counts.
 */
export type RevokedListener = (child: string, module: string | null, stays?: (client: Client) => boolean) => void;

export type Refusal = 'unavailable' | 'not authorised' | 'bad client id';

export type Admission =
  | { readonly client: Client }
  /** `why` is for the log; never a secret. `said`: the log has it already. */
  | { readonly refused: Refusal; readonly why: string; readonly said?: true };

/** Who may come in. */
export interface Gatekeeper {
  admit(presented: Presented): Promise<Admission>;
  /** Why somebody who was let in may not stay, by what counts now of certificates; null: it may. */
  objection(client: Client): string | null;
  /** What it gives ends that. */
  onRevoked(listener: RevokedListener): () => void;
}
