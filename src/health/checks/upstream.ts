import { X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate } from 'node:tls';
import type { Clock } from '../../clock/clock.ts';
import { readCredentials } from '../../config/credentials.ts';
import { ConfigError, type LoadedConfig } from '../../config/load.ts';
import type { UpstreamConfig } from '../../config/schema.ts';
import { codeOf, DialFailed } from '../../upstream/dial-failed.ts';
import { Dialer } from '../../upstream/dialer.ts';
import { Resolver } from '../../upstream/resolver.ts';
import { tlsOptions } from '../../upstream/secure-socket.ts';
import { DATE_FAULTS, faultWhileUncertain, shownBy } from '../../upstream/server-trust.ts';
import { dayText, daysText, NAME_AUTHORITY, tlsFault, type TlsFault } from '../../upstream/tls-fault.ts';
import { placeOf, type WayOut } from '../../upstream/way-out.ts';
import { CHECK_MS_MAX, fail, ok, skip, warn, type Check, type Finding } from './check.ts';
import { visit, type GuestRefused } from '../../upstream/guest.ts';
import { certainTime, type Scene } from './scene.ts';

/** Days before a certificate ends when it is time to think of it. */
const EXPIRY_WARNING_DAYS = 30;
const DAY_MS = 86_400_000;
/** Less than the bound of a check, so that it can still say why. */
const CONNECT_MS_MAX = CHECK_MS_MAX - 500;
/** So many names are given as examples. */
const NAMES_SAID_MAX = 5;
/** What a proxy says that lets us in, and does not reach the broker itself. */
const BEYOND_THE_PROXY = [502, 503, 504];

/** Address translators of mobile networks forget a silent TCP connection after five minutes and up. */
const KEEPALIVE_SECS_LONG = 240;

/** The way to the broker, step by step, as the gateway itself goes it. */
class Walk {
  readonly upstream: UpstreamConfig;
  readonly dialer: Dialer;
  readonly clock: Clock;
  /** See {@link certainTime}. */
  readonly certain: number;
  readonly #path: string;

  constructor(upstream: UpstreamConfig, path: string, scene: Scene) {
    const { clock } = scene;
    this.upstream = upstream;
    this.clock = clock;
    this.certain = certainTime(scene);
    this.#path = path;
    const resolver = new Resolver({ servers: upstream.dnsServers, clock, book: null });
    const time = { known: clock.known(), now: () => this.certain };
    this.dialer = new Dialer({ clock, resolver, time });
  }

  /** With all that is read from files. Throws when one cannot be read. */
  credentials() {
    return readCredentials(this.upstream, this.#path, { known: this.clock.known(), now: () => this.clock.wall() });
  }

  get way(): WayOut {
    const { tls, proxy } = this.credentials();
    return { url: this.upstream.url, tls, proxy };
  }

  /** As far as the broker's port. Null when it is reached. */
  async reached(signal: AbortSignal): Promise<DialFailed | null> {
    try {
      // Without a proxy no secret is needed to get so far.
      const { url, proxy } = this.upstream;
      const way = proxy === undefined ? { url, tls: {} } : this.way;
      (await this.dialer.reach(way, CONNECT_MS_MAX, signal)).destroy();
      return null;
    } catch (error) {
      if (!(error instanceof DialFailed)) throw error;
      return error;
    }
  }
}

/** The way to the broker, step by step. */
export function upstreamChecks(scene: Scene): Check[] {
  const loaded = scene.loaded as LoadedConfig;
  const step = (
    id: string,
    about: string,
    needs: string[],
    run: (walk: Walk, signal: AbortSignal) => Finding | Promise<Finding>,
  ): Check => ({
    id,
    about,
    needs: ['config', ...needs],
    run: (signal) => {
      const { upstream } = loaded.config;
      return upstream === undefined
        ? skip('no upstream is configured')
        : run(new Walk(upstream, loaded.path, scene), signal);
    },
  });
  const proxied = !(scene.loaded instanceof ConfigError) && scene.loaded.config.upstream?.proxy !== undefined;
  const online = scene.gateway.is === 'running' && scene.gateway.status.upstream?.state === 'online';
  return [
    step('upstream-dns', "the broker's name is known", [], dns),
    step('upstream-proxy', 'the proxy lets us through', [...(proxied ? ['secrets'] : []), 'upstream-dns'], proxy),
    step('upstream-tcp', 'the broker can be reached', ['upstream-dns', 'upstream-proxy'], tcp),
    step('upstream-tls', "the broker's certificate is valid", ['secrets', 'upstream-tcp'], tls),
    step('upstream-websocket', 'the broker speaks MQTT over WebSockets', ['secrets', 'upstream-tls'], webSocket),
    step('upstream-mqtt', 'the broker lets us in', ['secrets', 'upstream-tls', 'upstream-websocket'], (walk, signal) =>
      mqtt(walk, online, signal, dotted(loaded)),
    ),
    step('upstream-keepalive', 'a dead line is noticed', [], keepalive),
  ];
}

/** How soon silence is noticed; and whether what stands between us and the broker forgets the connection before that. */
function keepalive({ upstream: { keepaliveSecs, reconnect } }: Walk): Finding {
  const what = `the line is probed each ${keepaliveSecs} s, and given up after ${keepaliveSecs * 1.5} s of silence; then it is tried again within ${reconnect.maxSecs} s`;
  return keepaliveSecs > KEEPALIVE_SECS_LONG
    ? warn(
        what,
        `set upstream.keepaliveSecs to ${KEEPALIVE_SECS_LONG} or less: many mobile networks forget a line that is silent for longer`,
      )
    : ok(what);
}

/** Whom we have to find: a proxy finds the broker for us. */
async function dns({ upstream, dialer }: Walk, signal: AbortSignal): Promise<Finding> {
  const { host } = placeOf(upstream.proxy ?? upstream.url);
  if (isIP(host) !== 0) return ok(`${host} is an address`);
  const { dnsServers } = upstream;
  try {
    const { addresses, from } = await dialer.resolver.resolve(host, signal);
    const whose = from === 'hosts' ? ' (/etc/hosts)' : from === 'servers' ? ` (from ${dnsServers!.join(', ')})` : '';
    return ok(`${host} is ${addresses.map(({ address }) => address).join(', ')}${whose}`);
  } catch (error) {
    const where = upstream.proxy === undefined ? 'upstream.url' : 'upstream.proxy';
    const servers =
      dnsServers === undefined
        ? 'the network and its name servers: resolvectl status, cat /etc/resolv.conf'
        : 'whether the servers in upstream.dnsServers can be reached (UDP and TCP, port 53)';
    return fail(
      (error as Error).message,
      `check ${where} for a slip; then ${servers}. A running gateway goes on with the addresses that it knew last`,
    );
  }
}

async function proxy(walk: Walk, signal: AbortSignal): Promise<Finding> {
  const { proxy: url, url: broker } = walk.upstream;
  if (url === undefined) return ok('not used: none is configured');
  const { authority } = placeOf(url);
  const error = await walk.reached(signal);
  if (error === null) return ok(`proxy ${authority} lets us through`);
  const { status, message, advice } = error;
  if (status !== undefined && BEYOND_THE_PROXY.includes(status)) return ok(`proxy ${authority} takes us`);
  if (status === 407)
    return fail(message, 'correct the user in upstream.proxy and what is in upstream.proxyPasswordFile');
  if (status !== undefined)
    return fail(message, `have the proxy allow CONNECT to ${placeOf(broker).authority}: many allow port 443 only`);
  return fail(message, advice ?? 'check upstream.proxy, and whether an HTTP proxy listens there');
}

async function tcp(walk: Walk, signal: AbortSignal): Promise<Finding> {
  const { authority } = placeOf(walk.upstream.url);
  const error = await walk.reached(signal);
  const through = walk.upstream.proxy === undefined ? '' : ', through the proxy';
  if (error === null) return ok(`${authority} takes connections${through}`);
  if (error.stage === 'proxy') return fail(error.message, 'check the broker, and the network between the proxy and it');
  const refused = error.code === 'ECONNREFUSED';
  return fail(
    `${authority}: ${refused ? 'nobody listens there' : error.message}`,
    refused
      ? 'start the broker, or correct the port in upstream.url'
      : 'check the network and the firewalls on the way',
  );
}

interface Judged {
  readonly authorized: boolean;
  readonly why: string;
  readonly chain: PeerCertificate[];
  readonly version: string;
  /** Why it would not do either while the time is not known; null when it would. */
  readonly fault: TlsFault | null;
}

/** A handshake in which everything is taken, so that what is wrong can be told. Null, or why there was none. */
function handshake(
  raw: Socket,
  host: string,
  { tls: keys }: WayOut,
  certain: number,
  signal: AbortSignal,
): Promise<Judged | Error> {
  return new Promise<Judged | Error>((resolve) => {
    const socket = connectTls({ ...tlsOptions(raw, host, keys), rejectUnauthorized: false });
    socket.setTimeout(CONNECT_MS_MAX, () => resolve(new Error(`no answer within ${CONNECT_MS_MAX / 1000} s`)));
    socket.on('error', resolve);
    socket.once('close', () => resolve(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })));
    socket.once('secureConnect', () =>
      resolve({
        authorized: socket.authorized,
        why: String(socket.authorizationError ?? ''),
        chain: shownBy(socket),
        version: socket.getProtocol() ?? 'TLS',
        fault: faultWhileUncertain(socket, host, keys.ca, certain),
      }),
    );
    signal.addEventListener('abort', () => resolve(new Error('no answer in time')));
  }).finally(() => raw.destroy());
}

async function tls(walk: Walk, signal: AbortSignal): Promise<Finding> {
  const { url } = walk.upstream;
  const { host, authority, encrypted } = placeOf(url);
  if (!encrypted) return ok(`not used: ${new URL(url).protocol}// is without TLS`);
  const { way, clock } = walk;
  const judged = await handshake(await walk.dialer.reach(way, CONNECT_MS_MAX, signal), host, way, walk.certain, signal);
  const scene = { host, ownCa: way.tls.ca !== undefined, minVersion: way.tls.minVersion };
  const here = { now: clock.wall(), known: clock.known() };
  if (judged instanceof Error) {
    const fault = tlsFault(codeOf(judged).code ?? '', scene);
    if (fault !== null) return fail(`${authority}: ${fault.what}`, fault.advice);
    return fail(`${authority}: TLS does not come about: ${judged.message}`, 'check that the port is the one for TLS');
  }
  const { authorized, why, chain, version, fault } = judged;
  const pardoned = !authorized && !clock.known() && DATE_FAULTS.has(why) && fault === null;
  if (!authorized && !pardoned) {
    // A date hides what else there is, and while the time is not known it is not the date.
    const code = clock.known() || fault === null ? why : fault.code;
    const words = tlsFault(code ?? '', { ...scene, ...here, shown: chain }) ?? fault;
    return fail(`${authority}: ${words?.what ?? why}`, words?.advice ?? NAME_AUTHORITY);
  }
  const own = way.tls.cert === undefined ? null : new X509Certificate(way.tls.cert);
  const over = own === null ? null : outOfDate(own, walk);
  if (over !== null) return over;
  if (pardoned)
    return warn(
      `${host}: ${why} by the clock here, ${new Date(clock.wall()).toISOString()}, which nobody has set; the gateway lets it pass until the time is known`,
      'let a time server be reached, or set the clock',
    );
  const ends = [
    ...chain.map(({ subject, valid_to: to }) => ({ whose: String(subject.CN ?? host), at: Date.parse(to) })),
    ...(own === null ? [] : [{ whose: 'our client certificate', at: Date.parse(own.validTo) }]),
  ];
  const first = ends.reduce((earliest, each) => (each.at < earliest.at ? each : earliest));
  const valid = `${host}: valid, the name matches, ${version.replace('TLSv', 'TLS ')}; ${first.whose} ends in ${daysText(first.at - clock.wall())}`;
  const soon = first.at - clock.wall() < EXPIRY_WARNING_DAYS * DAY_MS;
  return soon ? warn(valid, 'have it renewed before it ends') : ok(valid);
}

/** What we show of ourselves, when it does not count now: whether the broker looks at that is its own business, and may change. */
function outOfDate({ validFrom, validTo }: X509Certificate, { upstream, clock, certain }: Walk): Finding | null {
  const what = `our client certificate, ${upstream.clientCert}`;
  const [begins, ends, now] = [Date.parse(validFrom), Date.parse(validTo), clock.wall()];
  if (ends <= certain) {
    const ago = clock.known() ? `${daysText(now - ends)} ago` : 'before this program was built';
    return fail(
      `${what}, ended on ${dayText(ends)} (${ago})`,
      'have it renewed and put it there: it is read anew for each attempt to connect',
    );
  }
  if (begins <= now || !clock.known()) return null;
  return fail(
    `${what}, begins on ${dayText(begins)} (${daysText(begins - now)} from now)`,
    `it is ${new Date(now).toISOString()} here: correct the clock if that is wrong, else ask who made it`,
  );
}

async function webSocket(walk: Walk, signal: AbortSignal): Promise<Finding> {
  const { url } = walk.upstream;
  const { webSocket: used, authority } = placeOf(url);
  const { protocol, pathname } = new URL(url);
  if (!used) return ok(`not used: ${protocol}// is without WebSockets`);
  try {
    const { stream } = await walk.dialer.dial(walk.way, CONNECT_MS_MAX, signal);
    stream.destroy();
    return ok(`${authority} takes the upgrade at ${pathname}`);
  } catch (error) {
    const { message, advice } = error as DialFailed;
    return fail(
      `${authority}: ${message}`,
      advice ?? 'check the path in upstream.url (many brokers want /mqtt), and that the port is the one for WebSockets',
    );
  }
}

/** Names in topics that not every broker takes as they are; docs/brokers.md. */
function dotted({ config }: LoadedConfig): string[] {
  const { gateway, children, modules } = config;
  return [gateway, ...children, ...modules].flatMap(({ id }) => (id.includes('.') ? [id] : []));
}

async function mqtt(walk: Walk, online: boolean, signal: AbortSignal, names: readonly string[]): Promise<Finding> {
  const { url, protocol, clientId, username, dialect } = walk.upstream;
  // A device has one connection: another would throw the gateway out.
  if (dialect === 'iothub' && online) return ok(`the running gateway is connected as the device ${clientId}`);
  try {
    const { client, version } = await visit(
      {
        url,
        protocol: dialect === 'iothub' ? '3.1.1' : protocol,
        clientId,
        purpose: dialect === 'iothub' ? null : 'check',
        dialer: walk.dialer,
        ...walk.credentials(),
      },
      CONNECT_MS_MAX,
      signal,
    );
    client.end(true);
    const who = username === undefined ? 'us' : `user ${username}`;
    const said = `it speaks MQTT ${version === 5 ? '5' : '3.1.1'} and takes ${who}`;
    if (version === 5 || dialect === 'iothub' || names.length === 0) return ok(said);
    return warn(
      `${said}; names with a dot: ${names.slice(0, NAMES_SAID_MAX).join(', ')}`,
      'if it is nats-server before 2.10 or RabbitMQ, use names without dots: the one closes the connection for such a ' +
        'topic, the other makes two levels of one; other brokers take them',
    );
  } catch (error) {
    const { message, refusal, advice } = error as GuestRefused;
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
      advice ??
        (refusal === null
          ? 'check that an MQTT broker listens there, and whether it wants a client certificate'
          : "look at the broker's log"),
    );
  }
}
