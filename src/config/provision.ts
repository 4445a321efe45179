import { BlockList, isIP } from 'node:net';
import * as z from 'zod';
import { asMapping, readYaml, type YamlDocument } from './document.ts';
import { ConfigError, pathText, type Path, type Problem } from './problem.ts';
import { validate } from './validate.ts';
import { choice, complain, flag, identifier, list, misfit, section, show, text } from './values.ts';

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
      .refine((secret) => secret !== '' && secret.length <= CREDENTIAL_LENGTH_MAX, {
        error: secretWrong(`text of 1 to ${CREDENTIAL_LENGTH_MAX} characters`),
      }),
    section({
      base64: z
        .string({ error: secretWrong('base64; put it in quotes') })
        .regex(/^[A-Za-z0-9+/\s]+={0,2}\s*$/, { error: secretWrong('base64') }),
    }),
  ],
  { error: secretWrong('text of 1 to 65536 characters (in quotes), or { base64: ... }') },
);

const countryWrong = misfit('a country of two capital letters', 'for example DE');

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
  country: z.string({ error: countryWrong }).regex(/^[A-Z]{2}$/, { error: countryWrong }),
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
  if (address === 'dhcp' || !isNetworkAddress(address)) return;
  const [ip = '', bits = ''] = address.split('/');
  if (isIP(ip) === 4 && Number(bits) < 31 && [0, 2 ** (32 - Number(bits)) - 1].includes(hostPart(ip, Number(bits))))
    complain(context, `${show(address)} is the address of a network, or of all in it, and not of one computer`, [
      'address',
    ]);
  // A router of IPv6 may be reached by its link-local address.
  if (gateway === undefined || isIP(gateway) === 0 || gateway.toLowerCase().startsWith('fe80:')) return;
  const network = new BlockList();
  network.addSubnet(ip, Number(bits), family(ip));
  if (family(gateway) !== family(ip) || !network.check(gateway, family(gateway)))
    complain(
      context,
      `${show(gateway)} is not in the network of ${show(address)}: nothing would be reached through it`,
      ['gateway'],
    );
});

function family(ip: string): 'ipv4' | 'ipv6' {
  return isIP(ip) === 4 ? 'ipv4' : 'ipv6';
}

/** Of an IPv4 address, what is left of it without its network's bits. */
function hostPart(ip: string, bits: number): number {
  const whole = ip.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  return whole % 2 ** (32 - bits);
}

function isNetworkAddress(address: string): boolean {
  if (address === 'dhcp') return true;
  const [ip = '', bits, more] = address.split('/');
  const version = isIP(ip);
  return (
    version !== 0 &&
    more === undefined &&
    /^\d+$/.test(bits ?? '') &&
    Number(bits) >= 1 &&
    Number(bits) <= (version === 4 ? 32 : 128)
  );
}

/** Somebody may have put a private key there. */
const keyWrong = secretWrong('a public key as in authorized_keys, for example ssh-ed25519 AAAA... name');

const nameWrong = misfit("the name of a file: letters, digits, '-', '.' or '_'");
const hostWrong = misfit('a host name of letters, digits and "-"', 'for example line-4');
const zoneWrong = misfit('a time zone', 'for example Europe/Berlin');
const mapping = z.record(z.string(), z.unknown(), { error: misfit('a mapping') });

const ProvisionSchema = section({
  id: identifier('line-4'),
  profile: text('a profile', 'raspberry-pi-4').exactOptional(),
  upstream: mapping.exactOptional(),
  /** Whatever else `gateway.yaml` takes. */
  config: mapping.default({}),
  /** By the names that `upstream` and `config` call them. */
  credentials: z
    .record(z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/, { error: nameWrong }), Credential, {
      error: secretWrong('a mapping of names to credentials'),
    })
    .default({}),
  wifi: Wifi.exactOptional(),
  ethernet: Ethernet.exactOptional(),
  hostname: z
    .string({ error: hostWrong })
    .regex(/^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/, { error: hostWrong })
    .exactOptional(),
  timezone: z
    .string({ error: zoneWrong })
    .regex(/^[A-Za-z0-9_+-]+(?:\/[A-Za-z0-9_+-]+){0,2}$/, { error: zoneWrong })
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
  /** What the gateway is given as its profile; undefined: nothing. */
  readonly profile: string | undefined;
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
  const { id, upstream, config } = provision;
  const inside: Path[] = [];
  if (Object.hasOwn(config, 'upstream')) inside.push(['config', 'upstream']);
  for (const key of ['id', 'profile'])
    if (Object.hasOwn(asMapping(config['gateway']) ?? {}, key)) inside.push(['config', 'gateway', key]);
  if (inside.length > 0) {
    const wrong = (path: Path) => document.atKey(path, `write ${path.at(-1)} beside config, not in it`);
    throw new ConfigError(inside.map((path) => ({ path: pathText(path), ...wrong(path) })));
  }
  const profile = provision.profile ?? board ?? undefined;
  const gateway = {
    ...config,
    gateway: { ...asMapping(config['gateway']), id, ...(profile !== undefined && { profile }) },
    ...(upstream !== undefined && { upstream }),
  };
  return {
    provision,
    profile,
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
