import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Stored } from '../message/message.ts';

/** How often dead letters of a kind are spoken of, ms. */
const SAID_EVERY_MS = 60_000;

/** What the log hears of messages that will never be taken: one line a minute for each kind, since one mistake may concern all. */
export class Obituary {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #refused = { saidAt: -Infinity, unsaid: 0 };
  readonly #oversized = { saidAt: -Infinity, unsaid: 0 };
  readonly #unsayable = { saidAt: -Infinity, unsaid: 0 };

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** The broker has refused it. */
  refused(stored: Stored, reason: number): void {
    this.#say(
      this.#refused,
      stored,
      { reason: `0x${reason.toString(16)}` },
      'the upstream refuses messages for good: they are dead letters now; are we allowed to publish?',
    );
  }

  /** It was not sent: the broker has said what it takes at the most. */
  oversized(stored: Stored, bytes: number, bytesMax: number): void {
    this.#say(
      this.#oversized,
      stored,
      { bytes, bytesMax },
      "messages are larger than the broker takes: they are dead letters now; raise the broker's limit (mosquitto: max_packet_size), or send less in one",
    );
  }

  /** It was not sent: MQTT's texts have 65,535 bytes at the most. */
  unsayable(stored: Stored): void {
    const text = 'messages have a topic or property longer than MQTT can say: they are dead letters now';
    this.#say(this.#unsayable, stored, {}, text);
  }

  #say(kind: { saidAt: number; unsaid: number }, { message, lane, seq }: Stored, what: object, text: string): void {
    kind.unsaid++;
    const now = this.#clock.monotonic();
    if (now < kind.saidAt + SAID_EVERY_MS) return;
    kind.saidAt = now;
    this.#log.warn({ child: message.source.child, lane, seq, ...what, count: kind.unsaid }, text);
    kind.unsaid = 0;
  }
}
