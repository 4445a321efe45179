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
}

export type Refusal = 'unavailable' | 'bad credentials' | 'not authorised' | 'bad client id';

export type Admission =
  | { readonly client: Client }
  /** `why` is for the log; never a secret. `said`: the log has it already. */
  | { readonly refused: Refusal; readonly why: string; readonly said?: true };

/** Who may come in. */
export interface Gatekeeper {
  admit(presented: Presented): Promise<Admission>;
  /** Why somebody who was let in may not stay, by what counts now of certificates; null: it may. */
  objection(client: Client): string | null;
  /** A child (or one of its modules) was removed, disabled, or its keys changed: whoever is connected as it is cut off. */
  onRevoked(listener: (child: string, module: string | null) => void): void;
}
