import { randomBytes } from 'node:crypto';
import { MqttClient } from 'mqtt';
import { brokerFault } from './broker-fault.ts';
import type { DialFailed } from './dial-failed.ts';
import type { Dialer, Dialed } from './dialer.ts';
import type { WayOut } from './way-out.ts';

/** CONNACK's words for a version that the broker does not speak (MQTT 3.1.1, 3.2.2.3; MQTT 5, 3.2.2.2). */
const WRONG_VERSION = [1, 0x84];

export interface GuestOptions extends WayOut {
  /** Goes out as the gateway does. */
  readonly dialer: Dialer;
  readonly protocol: 'auto' | '5' | '3.1.1';
  /** The gateway's own. A guest takes another: with the same, the broker would throw the gateway out. */
  readonly clientId: string;
  /** What the guest comes for; becomes part of its client id. */
  /** Part of its client id; null: it comes as the gateway itself, whom that throws out. */
  readonly purpose: 'monitor' | 'check' | 'fleet' | null;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** Why the broker did not let the guest in. `refusal` is CONNACK's code; null when none came. */
export class GuestRefused extends Error {
  readonly refusal: number | null;
  /** What to do about it, when that is known. */
  readonly advice: string | undefined;

  constructor(message: string, refusal: number | null, advice?: string) {
    super(message);
    this.name = 'GuestRefused';
    this.refusal = refusal;
    this.advice = advice;
  }
}

export interface Visit {
  readonly client: MqttClient;
  readonly version: 4 | 5;
}

/**
 * Connects beside the gateway: with its settings, under another client id, without a will, and leaving no session behind.
 * MQTT 5, and 3.1.1 where the broker refuses that. Each attempt rejects with {@link GuestRefused} after `msMax` at the
 * latest, and at once when `signal` aborts; the client does not connect again by itself.
 */
export async function visit(options: GuestOptions, msMax: number, signal?: AbortSignal): Promise<Visit> {
  if (options.protocol !== 'auto') return attempt(options, options.protocol === '5' ? 5 : 4, msMax, signal);
  try {
    return await attempt(options, 5, msMax, signal);
  } catch (error) {
    const { refusal, silent } = error as Unanswered;
    if (!(silent || (refusal !== null && WRONG_VERSION.includes(refusal)))) throw error;
    // Why it failed with 5 says more than why it failed with 3.1.1 as well.
    return attempt(options, 4, msMax, signal).catch((second: unknown) => {
      throw (second as GuestRefused).refusal === null ? error : second;
    });
  }
}

/** Closed without a word: brokers that know no MQTT 5 do that, too. */
class Unanswered extends GuestRefused {
  readonly silent = true;
}

async function attempt(
  options: GuestOptions,
  version: 4 | 5,
  msMax: number,
  signal: AbortSignal = new AbortController().signal,
): Promise<Visit> {
  let line: Dialed;
  try {
    line = await options.dialer.dial(options, msMax, signal);
  } catch (error) {
    const { message, advice } = error as DialFailed;
    throw new GuestRefused(message, null, advice);
  }
  return introduce(line, options, version, msMax, signal);
}

function introduce(
  { stream }: Dialed,
  options: GuestOptions,
  version: 4 | 5,
  msMax: number,
  signal: AbortSignal,
): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const client = new MqttClient(() => stream, {
      protocolVersion: version,
      clientId:
        options.purpose === null
          ? options.clientId
          : `${options.clientId}-${options.purpose}-${randomBytes(4).toString('hex')}`,
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: options.password }),
      clean: true,
      connectTimeout: msMax,
      reconnectPeriod: 0,
      resubscribe: false,
    });
    let failure: GuestRefused | null = null;
    // The listeners stay: an error that nobody listens for would end the process.
    client.on('error', (error) => {
      const { code } = error as { code?: unknown };
      const { what, advice } = brokerFault(error, options);
      failure ??= new GuestRefused(what, typeof code === 'number' ? code : null, advice);
      client.end(true);
      reject(failure);
    });
    client.on('close', () => {
      client.end(true);
      reject(failure ?? new Unanswered('the broker closed the connection without an answer', null));
    });
    const giveUp = () => client.end(true);
    signal.addEventListener('abort', giveUp);
    client.once('connect', () => {
      signal.removeEventListener('abort', giveUp);
      resolve({ client, version });
    });
    if (signal.aborted || stream.destroyed) giveUp();
  });
}
