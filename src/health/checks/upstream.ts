import { X509Certificate } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate } from 'node:tls';
import type { Clock } from '../../clock/clock.ts';
import { readCredentials } from '../../config/credentials.ts';
import type { LoadedConfig } from '../../config/load.ts';
import type { UpstreamConfig } from '../../config/schema.ts';
import { CHECK_MS_MAX, fail, ok, skip, warn, type Check, type Finding } from './check.ts';
import { visit, type GuestRefused } from '../../upstream/guest.ts';
import type { Scene } from './scene.ts';

/** Days before a certificate ends when it is time to think of it. */
const EXPIRY_WARNING_DAYS = 30;
const DAY_MS = 86_400_000;
/** Less than the bound of a check, so that it can still say why. */
const CONNECT_MS_MAX = CHECK_MS_MAX - 500;
const PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883, 'ws:': 80, 'wss:': 443 };

/** The way to the broker, step by step. */
export function upstreamChecks(scene: Scene): Check[] {
  const loaded = scene.loaded as LoadedConfig;
  const step = (
    id: string,
    about: string,
    needs: string[],
    run: (upstream: UpstreamConfig, signal: AbortSignal) => Finding | Promise<Finding>,
  ): Check => ({
    id,
    about,
    needs: ['config', ...needs],
    run: (signal) => {
      const { upstream } = loaded.config;
      return upstream === undefined ? skip('no upstream is configured') : run(upstream, signal);
    },
  });
  const online = scene.gateway.is === 'running' && scene.gateway.status.upstream?.state === 'online';
  return [
    step('upstream-dns', "the broker's name is known", [], dns),
    step('upstream-tcp', 'the broker can be reached', ['upstream-dns'], tcp),
    step('upstream-tls', "the broker's certificate is valid", ['secrets', 'upstream-tcp'], (upstream, signal) =>
      tls(upstream, loaded.path, scene.clock, signal),
    ),
    step('upstream-mqtt', 'the broker lets us in', ['secrets', 'upstream-tls'], (upstream, signal) =>
      mqtt(upstream, loaded.path, online, signal),
    ),
  ];
}

function placeOf({ url }: UpstreamConfig): { host: string; port: number; encrypted: boolean } {
  const { protocol, hostname, port } = new URL(url);
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? PORTS[protocol]! : Number(port),
    encrypted: protocol === 'mqtts:' || protocol === 'wss:',
  };
}

async function dns(upstream: UpstreamConfig): Promise<Finding> {
  const { host } = placeOf(upstream);
  if (isIP(host) !== 0) return ok(`${host} is an address`);
  try {
    const addresses = await lookup(host, { all: true });
    return ok(`${host} is ${addresses.map(({ address }) => address).join(', ')}`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOTFOUND' ? 'nobody knows the name' : `the name server does not answer (${code})`;
    return fail(
      `${host}: ${why}`,
      'check upstream.url for a slip; then the network and its name servers: resolvectl status, cat /etc/resolv.conf',
    );
  }
}

async function tcp(upstream: UpstreamConfig, signal: AbortSignal): Promise<Finding> {
  const { host, port } = placeOf(upstream);
  const socket = connectTcp({ host, port });
  const error = await opened(socket, 'connect', signal);
  if (error === null) return ok(`${host}:${port} takes connections`);
  const refused = error.code === 'ECONNREFUSED';
  return fail(
    `${host}:${port}: ${refused ? 'nobody listens there' : (error.code ?? error.message)}`,
    refused
      ? 'start the broker, or correct the port in upstream.url'
      : 'check the network and the firewalls on the way',
  );
}

/** Resolves with null at the event, or with why it never came. The socket is gone then. */
function opened(socket: Socket, event: string, signal: AbortSignal): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    socket.setTimeout(CONNECT_MS_MAX, () => resolve(new Error(`no answer within ${CONNECT_MS_MAX / 1000} s`)));
    socket.on('error', resolve);
    socket.once('close', () => resolve(new Error('the connection was closed')));
    socket.once(event, () => resolve(null));
    signal.addEventListener('abort', () => resolve(new Error('no answer in time')));
  }).finally(() => socket.destroy()) as Promise<NodeJS.ErrnoException | null>;
}

async function tls(upstream: UpstreamConfig, path: string, clock: Clock, signal: AbortSignal): Promise<Finding> {
  const { host, port, encrypted } = placeOf(upstream);
  if (!encrypted) return ok(`not used: ${new URL(upstream.url).protocol}// is without TLS`);
  const { tls: keys } = readCredentials(upstream, path);
  const servername = isIP(host) === 0 ? { servername: host } : {};
  // Judged below, so that what is wrong with it can be told.
  const socket = connectTls({ host, port, ...servername, ...keys, rejectUnauthorized: false });
  let judged: { authorized: boolean; why: string; chain: PeerCertificate[] } | undefined;
  socket.once('secureConnect', () => {
    const why = String(socket.authorizationError ?? '');
    judged = { authorized: socket.authorized, why, chain: chainOf(socket.getPeerCertificate(true)) };
  });
  const error = await opened(socket, 'secureConnect', signal);
  if (judged === undefined) {
    return fail(
      `${host}:${port}: TLS does not come about: ${error?.message ?? 'no reason given'}`,
      'check that the port is the one for TLS, and whether the broker wants a client certificate (upstream.clientCert)',
    );
  }
  if (!judged.authorized) return fail(`${host}:${port}: ${judged.why}`, remedy(judged.why, host, clock));
  const own = keys.cert === undefined ? [] : [new X509Certificate(keys.cert)];
  const ends = [
    ...judged.chain.map(({ subject, valid_to: to }) => ({ whose: String(subject.CN ?? host), at: Date.parse(to) })),
    ...own.map(({ validTo }) => ({ whose: 'our client certificate', at: Date.parse(validTo) })),
  ];
  const first = ends.reduce((earliest, each) => (each.at < earliest.at ? each : earliest));
  const days = Math.floor((first.at - clock.wall()) / DAY_MS);
  const valid = `${host}: valid, the name matches; ${first.whose} ends in ${days} days`;
  return days < EXPIRY_WARNING_DAYS ? warn(valid, 'have it renewed before it ends') : ok(valid);
}

function chainOf(leaf: PeerCertificate): PeerCertificate[] {
  const chain: PeerCertificate[] = [];
  let at: PeerCertificate | undefined = leaf;
  // A root is its own issuer.
  while (at?.valid_to !== undefined && !chain.includes(at)) {
    chain.push(at);
    at = (at as { issuerCertificate?: PeerCertificate }).issuerCertificate;
  }
  return chain;
}

function remedy(why: string, host: string, clock: Clock): string {
  if (why === 'CERT_NOT_YET_VALID' || why === 'CERT_HAS_EXPIRED') {
    const now = new Date(clock.wall()).toISOString();
    return `it is ${now} here${clock.known() ? '' : ', and nobody has said that this is right'}: correct the clock if that is wrong, else have the certificate renewed`;
  }
  if (why === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `use the name that stands in its certificate, or have one made out for ${host}`;
  return 'name the certificate of the authority that signed it in upstream.ca';
}

async function mqtt(upstream: UpstreamConfig, path: string, online: boolean, signal: AbortSignal): Promise<Finding> {
  const { url, protocol, clientId, username } = upstream;
  try {
    const credentials = readCredentials(upstream, path);
    const { client, version } = await visit(
      { url, protocol, clientId, username, purpose: 'check', ...credentials },
      CONNECT_MS_MAX,
      signal,
    );
    client.end(true);
    return ok(
      `it speaks MQTT ${version === 5 ? '5' : '3.1.1'} and takes ${username === undefined ? 'us' : `user ${username}`}`,
    );
  } catch (error) {
    const { message, refusal } = error as GuestRefused;
    const guest = 'the check comes under a client id of its own, so that a running gateway is not thrown out';
    if (online)
      return warn(
        `${message}; but the running gateway is online`,
        `nothing, probably: ${guest}, and the broker takes only ids that it knows`,
      );
    // MQTT 3.1.1's CONNACK 2, MQTT 5's 0x85: the client id.
    if (refusal === 2 || refusal === 0x85)
      return warn(
        message,
        `${guest}: allow ${clientId}-check-*, or see what \`holdfast status\` says of the gateway's own connection`,
      );
    // 4, 5, 0x86, 0x87: who we are, and what we may.
    if (refusal !== null && [4, 5, 0x86, 0x87].includes(refusal)) {
      return fail(
        message,
        'correct upstream.username and what is in upstream.passwordFile, or let the broker know this user',
      );
    }
    return fail(
      message,
      refusal === null
        ? 'check that an MQTT broker listens there, and whether it wants a client certificate'
        : "look at the broker's log",
    );
  }
}
