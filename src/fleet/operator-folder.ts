import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { jwkFile, JwkError, newKeyPair, privateJwkIn, publicJwkIn, publicOf } from '../registry/jwk.ts';
import type { PrivateJwk, PublicJwk } from '../registry/jwk.ts';
import { syncFolder, writePrivate } from '../registry/private-file.ts';
import { FleetError } from './fleet-error.ts';

/*
 * What an operator keeps, in a folder that nobody else may enter:
 *
 *   operator.jwk      the private key with which documents are opened that were made here; made on first need
 *   signing.jwk       the private key that signs them; there is one only when the operator had it made
 *   operators/*.jwk   public keys of other operators who shall be able to open the documents, too
 *   gateways/*.kid    the kid of each gateway's key as it was seen first, by the gateway's id
 */
const OPERATOR = 'operator.jwk';
const SIGNING = 'signing.jwk';
const OTHERS = 'operators';
const PINS = 'gateways';

/** `$XDG_CONFIG_HOME/holdfast`, else `~/.config/holdfast` (XDG Base Directory Specification). */
export function operatorHome(): string {
  const named = process.env['XDG_CONFIG_HOME'];
  return join(named !== undefined && named !== '' ? named : join(homedir(), '.config'), 'holdfast');
}

/** Where it is kept when nothing else is said. */
export function defaultFolder(): string {
  return join(operatorHome(), 'fleet');
}

export interface OperatorKeys {
  /** What others encrypt to so that this operator can open it. */
  readonly operator: PublicJwk;
  /** What goes to `registry.trust` of gateways; null: documents are not signed. */
  readonly signing: PublicJwk | null;
}

/** The folder, and the keys in it. What is made is on the medium when a method returns. Throws {@link FleetError}. */
export class OperatorFolder {
  readonly path: string;

  constructor(path: string = defaultFolder()) {
    this.path = path;
  }

  /** Made the first time. */
  operatorKey(): PrivateJwk {
    return this.#key(OPERATOR, 'enc') ?? this.#make(OPERATOR, 'enc');
  }

  /** Null: there is none. */
  signingKey(): PrivateJwk | null {
    return this.#key(SIGNING, 'sig');
  }

  /** Its public half. Refuses where there is one: gateways trust it. */
  makeSigningKey(): PublicJwk {
    if (this.signingKey() !== null)
      throw new FleetError(
        `${join(this.path, SIGNING)} is there already, and gateways may trust it: move it away first`,
      );
    return publicOf(this.#make(SIGNING, 'sig'));
  }

  publicKeys(): OperatorKeys {
    const signing = this.signingKey();
    return { operator: publicOf(this.operatorKey()), signing: signing === null ? null : publicOf(signing) };
  }

  /** Public keys of other operators. */
  others(): readonly PublicJwk[] {
    const folder = join(this.path, OTHERS);
    if (!existsSync(folder)) return [];
    const files = readdirSync(folder).filter((name) => name.endsWith('.jwk'));
    return files.sort().map((name) => read(join(folder, name), (value) => publicJwkIn(value, 'enc')));
  }

  /**
   * Reads a gateway's key and holds it to the one that was seen first. Throws when it is another, unless `acceptNew`, or no key.
   */
  gatewayKey(gateway: string, body: Buffer, acceptNew: boolean): PublicJwk {
    const key = keyIn(gateway, body);
    const path = join(this.path, PINS, `${encodeURIComponent(gateway)}.kid`);
    const pinned = existsSync(path) ? readFileSync(path, 'latin1').trim() : null;
    if (pinned === key.kid) return key;
    if (pinned !== null && !acceptNew) {
      throw new FleetError(
        `${gateway} has another key than before: ${key.kid}, it was ${pinned}. If it was installed anew, or its key was` +
          ' replaced, say so with --accept-new-key; else somebody else shows that key, and would read what it is sent',
      );
    }
    this.#write(path, `${key.kid}\n`);
    return key;
  }

  #key(name: string, use: 'enc' | 'sig'): PrivateJwk | null {
    const path = join(this.path, name);
    return existsSync(path) ? read(path, (value) => privateJwkIn(value, use)) : null;
  }

  #make(name: string, use: 'enc' | 'sig'): PrivateJwk {
    const path = join(this.path, name);
    const fresh = `${path}.${randomBytes(4).toString('hex')}`;
    this.#write(fresh, `${JSON.stringify(newKeyPair(use).private)}\n`);
    try {
      // Two commands at once make two keys, and both go on with the one that was first.
      linkSync(fresh, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw cannotWrite(path, error);
    } finally {
      rmSync(fresh, { force: true });
    }
    syncFolder(this.path);
    return read(path, (value) => privateJwkIn(value, use));
  }

  #write(path: string, text: string): void {
    try {
      writePrivate(path, text);
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }
}

function cannotWrite(path: string, error: unknown): FleetError {
  return new FleetError(`${path} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
}

function read<T>(path: string, take: (value: unknown) => T): T {
  try {
    return jwkFile(path, take);
  } catch (error) {
    throw error instanceof JwkError ? new FleetError(error.message) : error;
  }
}

function keyIn(gateway: string, body: Buffer): PublicJwk {
  try {
    return publicJwkIn(JSON.parse(body.toString('utf8')), 'enc');
  } catch (error) {
    throw new FleetError(
      `${gateway} publishes a key that ${error instanceof JwkError ? error.message : 'is not JSON'}`,
    );
  }
}
