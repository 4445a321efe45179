import { createHmac, randomBytes } from 'node:crypto';
import type { Credentials, PacketClientOptions } from './packet-client.ts';
import { inSeconds, sasToken } from './sas.ts';
import { IOT_HUB, newKey } from './sdk-gateway.ts';

/** A child that is in the registry, and what only it should know. */
export interface Victim {
  readonly id: string;
  /** Base64. */
  readonly key: string;
  readonly password: string;
}

/** One with secrets of its own. */
export function newVictim(id: string): Victim {
  return { id, key: newKey(), password: randomBytes(12).toString('base64url') };
}

/** What somebody presents who must not get in. */
export interface Forgery extends Credentials {
  readonly tls?: PacketClientOptions['tls'];
}

/** Made for a victim of its own, so that no attempt is refused for the sake of one before it; `other` is another child. */
export type Forge = (victim: Victim, other: Victim) => Forgery;

export function userName(id: string, hub = IOT_HUB): string {
  return `${hub}/${id}/?api-version=2021-04-12&DeviceClientType=test`;
}

export function resourceOf(id: string): string {
  return `${IOT_HUB}/devices/${id}`;
}

/** What its owner would present. */
export function rightToken({ id, key }: Victim): Forgery & { password: string } {
  return {
    clientId: id,
    username: userName(id),
    password: sasToken({ resource: resourceOf(id), key, expiry: inSeconds(3600) }),
  };
}

export function rightPassword({ id, password }: Victim): Forgery & { password: string } {
  return { clientId: id, username: id, password };
}

function keyed(change: (key: Buffer, other: Victim) => Buffer): Forge {
  return (victim, other) =>
    rightToken({ ...victim, key: change(Buffer.from(victim.key, 'base64'), other).toString('base64') });
}

function flipped(key: Buffer, at: number): Buffer {
  const copy = Buffer.from(key);
  copy[at]! ^= 1;
  return copy;
}

function worded(change: (token: string, victim: Victim) => string): Forge {
  return (victim) => {
    const right = rightToken(victim);
    return { ...right, password: change(right.password, victim) };
  };
}

function expiring(expiry: number | string): Forge {
  return (victim) => ({
    ...rightToken(victim),
    password: sasToken({ resource: resourceOf(victim.id), key: victim.key, expiry }),
  });
}

function about(resource: (victim: Victim, other: Victim) => string): Forge {
  return (victim, other) => ({
    ...rightToken(victim),
    password: sasToken({ resource: resource(victim, other), key: victim.key, expiry: inSeconds(3600) }),
  });
}

function passing(password: (victim: Victim, other: Victim) => string | Buffer | undefined): Forge {
  return (victim, other) => {
    const { password: _, ...right } = rightToken(victim);
    const chosen = password(victim, other);
    return chosen === undefined ? right : { ...right, password: chosen };
  };
}

function named(clientId: (victim: Victim, other: Victim) => string): Forge {
  return (victim, other) => ({ ...rightToken(victim), clientId: clientId(victim, other) });
}

function calling(username: (victim: Victim, other: Victim) => string): Forge {
  return (victim, other) => ({ ...rightToken(victim), username: username(victim, other) });
}

function signature(text: string, key: string, algorithm = 'sha256'): string {
  return encodeURIComponent(createHmac(algorithm, Buffer.from(key, 'base64')).update(text).digest('base64'));
}

export const TOKENS: Readonly<Record<string, Forge>> = {
  'a key of nobody': keyed(() => randomBytes(32)),
  'a key of nobody, again': keyed(() => randomBytes(32)),
  'a key of 64 bytes': keyed(() => randomBytes(64)),
  'a key of zeros': keyed((key) => Buffer.alloc(key.length)),
  'an empty key': keyed(() => Buffer.alloc(0)),
  'the key of another child': keyed((_, other) => Buffer.from(other.key, 'base64')),
  'a key whose first bit is wrong': keyed((key) => flipped(key, 0)),
  'a key whose middle bit is wrong': keyed((key) => flipped(key, 16)),
  'a key whose last bit is wrong': keyed((key) => flipped(key, 31)),
  'a key that was cut short': keyed((key) => key.subarray(0, 31)),
  'a key with a byte more': keyed((key) => Buffer.concat([key, Buffer.from([7])])),
  'a key that was not decoded': keyed((key) => Buffer.from(key.toString('base64'))),
  'a signature that ends otherwise': worded((token) =>
    token.replace(/sig=(..)/, (_, two: string) => `sig=${two === 'AA' ? 'BB' : 'AA'}`),
  ),
  'no signature': worded((token) => token.replace(/&sig=[^&]*/, '')),
  'an empty signature': worded((token) => token.replace(/sig=[^&]*/, 'sig=')),
  'a signature in small letters': worded((token) => token.replace(/sig=([^&]*)/, (all) => all.toLowerCase())),
  'a signature of zeros': worded((token) =>
    token.replace(/sig=[^&]*/, `sig=${encodeURIComponent(Buffer.alloc(32).toString('base64'))}`),
  ),
  'a signature of one byte': worded((token) => token.replace(/sig=[^&]*/, 'sig=AA%3D%3D')),
  'a signature over the resource as it is, not encoded': worded((_, { id, key }) => {
    const se = inSeconds(3600);
    return `SharedAccessSignature sr=${encodeURIComponent(resourceOf(id))}&sig=${signature(`${resourceOf(id)}\n${se}`, key)}&se=${se}`;
  }),
  'a signature with SHA-1': worded((_, { id, key }) => {
    const [sr, se] = [encodeURIComponent(resourceOf(id)), inSeconds(3600)];
    return `SharedAccessSignature sr=${sr}&sig=${signature(`${sr}\n${se}`, key, 'sha1')}&se=${se}`;
  }),
  'an expiry that was moved after signing': worded((token) => token.replace(/se=\d+/, `se=${inSeconds(7200)}`)),
  'a resource that was changed after signing': worded((token, { id }) =>
    token.replace(`devices%2F${id}`, 'devices%2Fsomebody'),
  ),
  'a token that ended a second ago': expiring(inSeconds(-1)),
  'a token that ended an hour ago': expiring(inSeconds(-3600)),
  'a token that ended a year ago': expiring(inSeconds(-31_536_000)),
  'a token of 1970': expiring(0),
  'a token of before 1970': expiring(-1),
  'a token that ends at a word': expiring('never'),
  'a token that ends at NaN': expiring('NaN'),
  'a token that ends at Infinity': expiring('Infinity'),
  'a token that ends nowhere': expiring(''),
  'a token without an end': worded((token) => token.replace(/&se=\d+/, '')),
  'a token that ends in hex': expiring('0x7fffffff'),
  'a token that ends at 1e99': expiring('1e99'),
  'a token about another child, with the own key': about((_, other) => resourceOf(other.id)),
  'a token about another hub': about(({ id }) => `other.azure-devices.net/devices/${id}`),
  'a token about all devices': about(() => `${IOT_HUB}/devices`),
  'a token about the whole hub': about(() => IOT_HUB),
  'a token about nothing': about(() => ''),
  'a token about an id that begins like this one': about(({ id }) => resourceOf(id.slice(0, -1))),
  'a token about an id that goes on': about(({ id }) => resourceOf(`${id}0`)),
  'a token about the same id in capitals': about(({ id }) => resourceOf(id.toUpperCase())),
  'a token by way of another child': about(({ id }, other) => resourceOf(`${other.id}/../${id}`)),
  'a token about a module': about(({ id }) => resourceOf(`${id}/modules/filter`)),
  'a token that is encoded twice': about(({ id }) => encodeURIComponent(resourceOf(id))),
  "another child's token": passing((_, other) => rightToken(other).password),
  'no password': passing(() => undefined),
  'an empty password': passing(() => ''),
  'the scheme alone': passing(() => 'SharedAccessSignature'),
  'the scheme and a blank': passing(() => 'SharedAccessSignature '),
  'the key itself': passing(({ key }) => key),
  'a token without its scheme': worded((token) => token.replace('SharedAccessSignature ', '')),
  'a token of another scheme': worded((token) => token.replace('SharedAccessSignature', 'Bearer')),
  '60,000 bytes of a': passing(() => 'a'.repeat(60_000)),
  '60,000 times &': passing(() => `SharedAccessSignature ${'&'.repeat(60_000)}`),
  'a password of NULs': passing(() => Buffer.alloc(64)),
  'a password that is no UTF-8': passing(() => Buffer.from([0xff, 0xfe, 0xc0, 0x80])),
  'a broken percent-encoding': passing(() => 'SharedAccessSignature sr=%&sig=%zz&se=%e0%a4%a'),
  "another child's client id": named((_, other) => other.id),
  'an empty client id': named(() => ''),
  'the gateway as client id': named(() => 'line-4'),
  'a client id that nobody has': named(() => 'nobody'),
  'a client id with a slash after it': named(({ id }) => `${id}/`),
  'a client id with a slash before it': named(({ id }) => `/${id}`),
  'a client id of three levels': named(({ id }) => `${id}/filter/more`),
  "a module's client id": named(({ id }) => `${id}/filter`),
  'a client id in capitals': named(({ id }) => id.toUpperCase()),
  'a client id with a blank': named(({ id }) => `${id} `),
  'a client id that is a wildcard': named(() => '#'),
  'a client id with a wildcard': named(({ id }) => `${id}/+`),
  'a client id with NUL': named(({ id }) => `${id}\0`),
  'a client id by way of another': named(({ id }, other) => `${other.id}/../${id}`),
  'a client id of 65,535 bytes': named(() => 'x'.repeat(65_535)),
  'a client id that is a property of every object': named(() => '__proto__'),
  "another child's user name": calling((_, other) => userName(other.id)),
  "another hub's user name": calling(({ id }) => userName(id, 'other.azure-devices.net')),
  "a module's user name": calling(({ id }) => userName(`${id}/filter`)),
};

function plain(change: (right: Forgery & { password: string }, victim: Victim, other: Victim) => Forgery): Forge {
  return (victim, other) => change(rightPassword(victim), victim, other);
}

export const PASSWORDS: Readonly<Record<string, Forge>> = {
  'a wrong password': plain((right) => ({ ...right, password: 'guess' })),
  'an empty password': plain((right) => ({ ...right, password: '' })),
  'no password': plain(({ clientId }, { id }) => ({ clientId, username: id })),
  'neither user name nor password': plain(({ clientId }) => ({ clientId })),
  'a password that was cut short': plain((right) => ({ ...right, password: right.password.slice(0, -1) })),
  'a password and more': plain((right) => ({ ...right, password: `${right.password}!` })),
  'a password and NUL': plain((right) => ({ ...right, password: `${right.password}\0` })),
  'a password in capitals': plain((right) => ({ ...right, password: right.password.toUpperCase() })),
  "another child's password": plain((right, _, other) => ({ ...right, password: other.password })),
  "another child's name and the own password": plain((right, _, other) => ({ ...right, username: other.id })),
  "another child's id, name and the own password": plain((right, _, other) => ({
    ...right,
    clientId: other.id,
    username: other.id,
  })),
  'the name as password': plain((right, { id }) => ({ ...right, password: id })),
  'a hash as password': plain((right) => ({ ...right, password: 'scrypt$16384$8$1$AAAA$AAAA' })),
  '60,000 bytes of password': plain((right) => ({ ...right, password: 'a'.repeat(60_000) })),
  'the name of nobody': plain((right) => ({ ...right, clientId: 'nobody', username: 'nobody' })),
  "an empty client id with another's name": plain((right, _, other) => ({
    ...right,
    clientId: '',
    username: other.id,
  })),
};
