import { readFileSync } from 'node:fs';
import type { Auth, Identity } from '../registry/identity.ts';
import { hashPassword, isPasswordHash, passwordFault } from '../registry/password.ts';
import { newSasKey } from '../registry/registry.ts';
import { atDesk } from './children-desk.ts';
import { handout, printHandout } from './children-handout.ts';
import { configured, type CommonOptions } from './configured.ts';
import { CliError, FINE, printJson, say, USED_WRONGLY } from './output.ts';

/** Longest hash that a file may hold, bytes. */
const HASH_BYTES_MAX = 4096;

/** How a child shows who it is, as the command line says it. */
export interface AuthOptions {
  readonly sas?: boolean;
  readonly primaryKey?: string;
  readonly secondaryKey?: string;
  readonly x509Thumbprint?: string;
  readonly secondaryThumbprint?: string;
  readonly x509Ca?: boolean;
  readonly passwordFile?: string;
}

export interface AddOptions extends CommonOptions, AuthOptions {
  readonly module?: string;
  readonly disabled?: boolean;
  readonly asGateway?: boolean;
}

/** `holdfast children add ID`: a child (or a module of one) with its credentials; says what to hand to it. */
export async function addChild(id: string, options: AddOptions): Promise<number> {
  const auth = await authOf(options);
  const where = configured(options.config);
  const module = moduleOf(options);
  await atDesk(where, (desk) =>
    module === null
      ? desk({ do: 'add', identity: childOf(id, auth, options) })
      : desk({ do: 'add module', child: id, module: { id: module, auth } }),
  );
  const added = module === null ? id : `${id}/${module}`;
  if (options.json === true) printJson({ added, ...handout(where, id, module, auth) });
  else {
    say(`added ${added}`);
    printHandout(where, id, module, auth);
  }
  return FINE;
}

type KindOptions = Pick<AddOptions, 'module' | 'disabled' | 'asGateway'>;

/** The module that is to be added, if it is one: it has no status of its own. */
export function moduleOf({ module, disabled, asGateway }: KindOptions): string | null {
  if (module !== undefined && disabled === true)
    throw new CliError('a module is enabled and disabled with its child', USED_WRONGLY);
  if (module !== undefined && asGateway === true) throw new CliError('a module is no gateway', USED_WRONGLY);
  return module ?? null;
}

/** The child that is to be added. */
export function childOf(id: string, auth: Auth, { disabled, asGateway }: KindOptions): Identity {
  const status = disabled === true ? 'disabled' : 'enabled';
  return { id, status, auth, modules: [], ...(asGateway === true && { gateway: true }) };
}

/** Exactly one way must be named. Keys that are not given are made. */
export async function authOf(options: AuthOptions): Promise<Auth> {
  const { sas, x509Thumbprint, x509Ca, passwordFile, primaryKey, secondaryKey, secondaryThumbprint } = options;
  const ways = [sas, x509Thumbprint, x509Ca, passwordFile].filter((way) => way !== undefined);
  if (ways.length !== 1) {
    throw new CliError(
      'say how it shows who it is, with one of --sas, --x509-thumbprint, --x509-ca, --password-file',
      USED_WRONGLY,
    );
  }
  if (sas === undefined && (primaryKey !== undefined || secondaryKey !== undefined)) {
    throw new CliError('keys are for --sas', USED_WRONGLY);
  }
  if (x509Thumbprint === undefined && secondaryThumbprint !== undefined) {
    throw new CliError('--secondary-thumbprint needs --x509-thumbprint', USED_WRONGLY);
  }
  if (sas !== undefined) {
    return { sas: { primaryKey: primaryKey ?? newSasKey(), secondaryKey: secondaryKey ?? newSasKey() } };
  }
  if (x509Thumbprint !== undefined) {
    return {
      x509: { thumbprints: [x509Thumbprint, ...(secondaryThumbprint === undefined ? [] : [secondaryThumbprint])] },
    };
  }
  if (passwordFile !== undefined) return { password: await hashIn(passwordFile) };
  return { x509: { ca: true } };
}

/** How many bytes at the end are a line's end. */
function lineEnd(bytes: Buffer): number {
  if (bytes.at(-1) !== 0x0a) return 0;
  return bytes.at(-2) === 0x0d ? 2 : 1;
}

/** The hash of a password that a file holds; a file may hold the hash itself. */
async function hashIn(file: string): Promise<string> {
  let found: Buffer;
  try {
    found = readFileSync(file === '-' ? 0 : file);
  } catch (error) {
    throw new CliError(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  // Bytes rather than text: MQTT carries any.
  const password = found.subarray(0, found.length - lineEnd(found));
  const text = password.subarray(0, HASH_BYTES_MAX).toString('latin1');
  if (isPasswordHash(text)) return text;
  const fault = passwordFault(password);
  if (fault !== null) throw new CliError(`${file}: ${fault}`);
  return hashPassword(password);
}
