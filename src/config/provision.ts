import { isIP } from 'node:net';
import { z } from 'zod';
import { asMapping, readYaml, type YamlDocument } from './document.ts';
import { ConfigError, pathText, type Path, type Problem } from './problem.ts';
import { validate } from './validate.ts';
import { choice, complain, flag, identifier, list, misfit, section, text } from './values.ts';

/** Longest credential, characters. */
const CREDENTIAL_LENGTH_MAX = 65_536;
/** IEEE 802.11: bytes of a network's name; and of a WPA passphrase, characters. */
const SSID_BYTES_MAX = 32;
const PASSPHRASE = /^[\x20-\x7e]{8,63}$/;

const KEY_TYPES =
  'ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\\.com|sk-ecdsa-sha2-nistp256@openssh\\.com';

/** No error repeats what stands there: it is a secret. */
const secretWrong = (right: string) => () => `is not ${right}`;

const Credential = z.union(
  [
    z
      .string({ error: secretWrong('text; put it in quotes') })
      .min(1)
      .max(CREDENTIAL_LENGTH_MAX),
    section({ base64: z.string().regex(/^[A-Za-z0-9+/\s]+={0,2}\s*$/, { error: secretWrong('base64') }) }),
  ],
  { error: secretWrong('text of 1 to 65536 characters (in quotes), or { base64: ... }') },
);

const Wifi = section({
  ssid: z
    .string({ error: misfit('the name of a network', 'it in quotes') })
    .refine((name) => name !== '' && Buffer.byteLength(name) <= SSID_BYTES_MAX, {
      error: misfit(`a name of 1 to ${SSID_BYTES_MAX} bytes`),
    }),
  password: z
    .string({ error: secretWrong('text; put it in quotes') })
    .regex(PASSPHRASE, { error: secretWrong('a WPA passphrase: 8 to 63 ordinary characters') })
    .exactOptional(),
  country: z.string().regex(/^[A-Z]{2}$/, { error: misfit('a country of two capital letters', 'for example DE') }),
  hidden: flag().default(false),
});

const addressWrong = misfit('an address with the length of its network', 'for example 192.0.2.7/24, or dhcp');
const ipWrong = misfit('an address', 'for example 192.0.2.1');
const Ip = z.string({ error: ipWrong }).refine((address) => isIP(address) !== 0, { error: ipWrong });

const Ethernet = section({
  address: z.string({ error: addressWrong }).refine(isNetworkAddress, { error: addressWrong }).default('dhcp'),
  gateway: Ip.exactOptional(),
  dns: list(Ip, '[192.0.2.53]').default([]),
}).superRefine(({ address, gateway }, context) => {
  if (address === 'dhcp' && gateway !== undefined)
    complain(context, 'DHCP gives the gateway; leave it out, or write an address', ['gateway']);
});

function isNetworkAddress(address: string): boolean {
  if (address === 'dhcp') return true;
  const [ip = '', bits, more] = address.split('/');
  const family = isIP(ip);
  return family !== 0 && more === undefined && /^\d+$/.test(bits ?? '') && Number(bits) <= (family === 4 ? 32 : 128);
}

const keyWrong = misfit('a public key as in authorized_keys', 'for example ssh-ed25519 AAAA... name');
const nameWrong = misfit("the name of a file: letters, digits, '-', '.' or '_'");
const hostWrong = misfit('a host name of letters, digits and "-"', 'for example line-4');
const mapping = z.record(z.string(), z.unknown(), { error: misfit('a mapping') });

const ProvisionSchema = section({
  id: identifier('line-4'),
  profile: text('a profile', 'raspberry-pi-4').exactOptional(),
  upstream: mapping.exactOptional(),
  /** Whatever else `gateway.yaml` takes. */
  config: mapping.default({}),
  /** By the names that `upstream` and `config` call them. */
  credentials: z
    .record(z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/, { error: nameWrong }), Credential)
    .default({}),
  wifi: Wifi.exactOptional(),
  ethernet: Ethernet.exactOptional(),
  hostname: z
    .string({ error: hostWrong })
    .regex(/^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/, { error: hostWrong })
    .exactOptional(),
  timezone: z
    .string()
    .regex(/^[A-Za-z0-9_+-]+(?:\/[A-Za-z0-9_+-]+){0,2}$/, { error: misfit('a time zone', 'for example Europe/Berlin') })
    .exactOptional(),
  ssh: section({
    user: text('a user', 'root').default('root'),
    keys: list(
      z.string({ error: keyWrong }).regex(new RegExp(`^(?:${KEY_TYPES}) [A-Za-z0-9+/]+={0,3}(?: [^\\p{Cc}]*)?$`, 'u'), {
        error: keyWrong,
      }),
    ),
  }).exactOptional(),
  /** Which of the two sets up the network; found out when it is left out. */
  network: choice(['NetworkManager', 'networkd']).exactOptional(),
});

/** What `holdfast-provision.yaml` says. */
export type Provision = z.output<typeof ProvisionSchema>;

export interface ProvisionFile {
  readonly provision: Provision;
  /** `gateway.yaml` as it follows from it. */
  readonly gateway: Record<string, unknown>;
  /** The same problems of that, at their places in this file. */
  relocated(problems: readonly Problem[]): ConfigError;
  /** Problems that only the machine shows. */
  misplaced(problems: readonly { readonly path: Path; readonly message: string }[]): ConfigError;
}

/** Reads it; `board` is the profile where it names none. Throws a {@link ConfigError} with every problem of the file that does not need the rest of the machine to be seen. */
export function readProvision(file: string, board: string | null): ProvisionFile {
  const document = readYaml(file);
  const validated = validate(ProvisionSchema, document, document.root);
  if ('problems' in validated) throw new ConfigError(validated.problems);
  const provision = validated.value;
  if (Object.hasOwn(provision.config, 'upstream')) {
    const place = document.atKey(['config', 'upstream'], 'write upstream beside config, not in it');
    throw new ConfigError([{ path: 'config.upstream', ...place }]);
  }
  const { id, upstream, config } = provision;
  const profile = provision.profile ?? asMapping(config['gateway'])?.['profile'] ?? board ?? undefined;
  const gateway = {
    ...config,
    gateway: { ...asMapping(config['gateway']), id, ...(profile !== undefined && { profile }) },
    ...(upstream !== undefined && { upstream }),
  };
  return {
    provision,
    gateway,
    relocated: (problems) => new ConfigError(problems.map((each) => relocated(document, each))),
    misplaced: (problems) =>
      new ConfigError(
        problems.map(({ path, message }) => ({ path: pathText(path), ...document.atValue(path, message) })),
      ),
  };
}

/** `gateway.id` stands in `id`, `upstream.url` where it does, `children[0].id` in `config`. */
function relocated(document: YamlDocument, { path, message }: Problem): Problem {
  const steps = path.split(/[.[\]]+/).filter((step) => step !== '');
  const [first, second] = steps;
  let place = ['config', ...steps];
  if (first === 'upstream') place = steps;
  if (first === 'gateway' && (second === 'id' || second === 'profile')) place = [second];
  const located = document.atValue(
    place.map((step) => (/^\d+$/.test(step) ? Number(step) : step)),
    message,
  );
  return { path: first === undefined ? '' : place.join('.'), ...located };
}
