import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../clock/clock.ts';
import { inTurns, race } from './address-race.ts';
import { DialFailed, GIVEN_UP } from './dial-failed.ts';
import { tunnel } from './proxy-tunnel.ts';
import { Resolver } from './resolver.ts';
import { secure } from './secure-socket.ts';
import type { TrustedTime } from './server-trust.ts';
import { placeOf, type WayOut } from './way-out.ts';
import { upgrade } from './web-socket.ts';

export interface DialerOptions {
  readonly clock: Clock;
  /** Left out: the system's, without a book. */
  readonly resolver?: Resolver;
  /** By which certificates are judged while the time is not known; left out: by the clock, whatever it shows. */
  readonly time?: TrustedTime | undefined;
}

/** A connection that is ready for MQTT. */
export interface Dialed {
  readonly stream: Duplex;
  /** The address of this machine that it leaves by. */
  readonly localAddress: string;
}

/**
 * The one way out: name, TCP connection (to the broker, or to a proxy that opens a tunnel to it), TLS, WebSocket. Each attempt
 * is bounded in time and can be given up, and leaves no socket behind but the one that it resolves with.
 */
export class Dialer {
  readonly resolver: Resolver;
  readonly #clock: Clock;
  readonly #time: TrustedTime | null;
  /** The family that is tried first: version 6, until it was the other that got through. */
  #first: 4 | 6 = 6;

  constructor({ clock, resolver, time }: DialerOptions) {
    this.#clock = clock;
    this.resolver = resolver ?? new Resolver({ clock, book: null });
    this.#time = time ?? null;
  }

  /** All the way. Rejects with {@link DialFailed} after `msMax` at the latest. */
  dial(way: WayOut, msMax: number, signal: AbortSignal): Promise<Dialed> {
    return this.#bounded(msMax, signal, async (until) => {
      const place = placeOf(way.url);
      const raw = await this.#reach(way, until);
      const { localAddress = '' } = raw;
      const socket = place.encrypted ? await secure(raw, place.host, way.tls, this.#time, until) : raw;
      return { localAddress, stream: place.webSocket ? await upgrade(socket, way.url, until) : socket };
    });
  }

  /** As {@link dial}, as far as the TCP connection with the broker, or the tunnel to it. */
  reach(way: WayOut, msMax: number, signal: AbortSignal): Promise<Socket> {
    return this.#bounded(msMax, signal, (until) => this.#reach(way, until));
  }

  async #reach({ url, tls, proxy }: WayOut, signal: AbortSignal): Promise<Socket> {
    const { host, port, authority } = placeOf(url);
    if (proxy === undefined) return this.#connect(host, port, signal);
    const place = placeOf(proxy.url);
    let socket: Socket;
    try {
      socket = await this.#connect(place.host, place.port, signal);
      // Whom the broker is vouched for by vouches for the proxy; what we show of ourselves is for the broker.
      const trust = { ...(tls.ca === undefined ? {} : { ca: tls.ca }), minVersion: tls.minVersion };
      if (place.encrypted) socket = await secure(socket, place.host, trust, this.#time, signal);
    } catch (error) {
      const { message, stage, code, advice } = error as DialFailed;
      const details = { ...(code !== undefined && { code }), ...(advice !== undefined && { advice }) };
      throw new DialFailed(stage, `proxy ${place.authority}: ${message}`, details);
    }
    return tunnel(socket, proxy, authority, signal);
  }

  async #connect(host: string, port: number, signal: AbortSignal): Promise<Socket> {
    const { addresses, from, trouble } = await this.resolver.resolve(host, signal);
    try {
      const socket = await race(inTurns(addresses, this.#first), port, this.#clock, signal);
      this.#first = socket.remoteFamily === 'IPv4' ? 4 : 6;
      return socket;
    } catch (error) {
      this.resolver.doubt(host);
      if (from !== 'kept' || signal.aborted) throw error;
      const { message, code } = error as DialFailed;
      const why = `${message}; and the address is an old one: ${trouble}`;
      throw new DialFailed('tcp', why, code === undefined ? {} : { code });
    }
  }

  async #bounded<T>(msMax: number, signal: AbortSignal, act: (until: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const giveUp = () => controller.abort();
    let late = false;
    const deadline = this.#clock.after(msMax, () => {
      late = true;
      giveUp();
    });
    signal.addEventListener('abort', giveUp);
    if (signal.aborted) giveUp();
    try {
      return await act(controller.signal);
    } catch (error) {
      if (!late) throw error;
      const { stage, message } = error as DialFailed;
      throw new DialFailed(stage, message.replace(GIVEN_UP, `no answer within ${msMax / 1000} s`), {
        code: 'ETIMEDOUT',
      });
    } finally {
      deadline.cancel();
      signal.removeEventListener('abort', giveUp);
    }
  }
}
