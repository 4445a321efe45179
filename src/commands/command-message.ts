import type { Clock } from '../clock/clock.ts';

/*
 * A message that is queued for a child until it comes or the message expires: what Azure IoT Hub calls cloud-to-device
 * ("Understand cloud-to-device messaging from an IoT hub"), from above or from another child by grant.
 */

/** Largest body, bytes (IoT Hub's limit). */
export const COMMAND_BODY_BYTES_MAX = 64 * 1024;
/** How long one waits that does not say, and the longest that any may, seconds (IoT Hub's defaults and limits). */
export const LIFE_SECS = 3600;
export const LIFE_SECS_MAX = 172_800;

const ACKS = ['none', 'positive', 'negative', 'full'] as const;

/** What came. Properties by the names of docs/routes.md: `absolute-expiry-time`, `ack`, `messageId`. */
export interface CommandContent {
  readonly body: Buffer;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** Why something is no message that can be queued. */
export interface NoCommand {
  readonly refused: string;
  readonly reason: 'too-large' | 'malformed' | 'expired';
}

/** A message that can be queued. */
export interface CommandMessage extends CommandContent {
  /** Of which of its fates its sender wants to hear. */
  readonly ack: (typeof ACKS)[number];
  /** Seconds of age for which it waits, from now on. */
  readonly expiresAfterSecs: number;
}

/**
 * What came as a message to queue, or why it is refused. An expiry time can only be judged by a clock that is known; until then a
 * message waits as long as one that does not say. `lifeSecs`: what the sender said otherwise (MQTT 5's message expiry interval).
 */
export function commandMessage(
  content: CommandContent,
  clock: Pick<Clock, 'wall' | 'known'>,
  lifeSecs?: number,
): CommandMessage | NoCommand {
  const { body, properties } = content;
  if (body.length > COMMAND_BODY_BYTES_MAX)
    return {
      refused: `a body of ${body.length} bytes; a message to a child may have ${COMMAND_BODY_BYTES_MAX}`,
      reason: 'too-large',
    };
  const ack = ACKS.find((each) => each === (properties['ack'] ?? 'none'));
  if (ack === undefined)
    return {
      refused: `ack is ${JSON.stringify(properties['ack'])}, not one of ${ACKS.join(', ')}`,
      reason: 'malformed',
    };
  const expiry = properties['absolute-expiry-time'];
  const at = expiry === undefined ? Number.NaN : Date.parse(expiry);
  if (expiry !== undefined && Number.isNaN(at)) return { refused: 'its expiry is no time', reason: 'malformed' };
  const secs = !Number.isNaN(at) && clock.known() ? (at - clock.wall()) / 1000 : (lifeSecs ?? LIFE_SECS);
  if (secs <= 0) return { refused: 'it has expired', reason: 'expired' };
  return { ...content, ack, expiresAfterSecs: Math.min(secs, LIFE_SECS_MAX) };
}
