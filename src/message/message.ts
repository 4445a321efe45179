import type { Ulid } from './ulid.ts';

/** Largest body that is accepted, bytes (Azure IoT Hub's limit, which children's software already knows). */
export const BODY_BYTES_MAX = 262_144;
/** Hops through gateways after which a message is taken for a loop. */
export const HOPS_MAX = 8;
/** Lane of a message whose route names no priority: after priority 9, as in IoT Edge. */
export const LANE_UNSPECIFIED = 10;
/** Lanes are 0 (first) to 10. */
export const LANES = 11;
/** The boot of what another gateway took on: boots of a spool are counted from 1. */
export const NO_BOOT = 0;

/** Who said it. `module` and `output` only for what a rule put out. */
export interface Source {
  readonly child: string;
  readonly module?: string;
  readonly output?: string;
}

/** What a driver hands over: a reading that nobody has accepted yet. */
export interface Reading {
  readonly body: Buffer;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly properties?: Readonly<Record<string, string>>;
  /** When the sensor measured, if it says: ms since 1970, by its own clock. */
  readonly eventTime?: number;
  /** When it was measured, by the gateway's monotonic clock, where the driver knows that better than who takes the reading. */
  readonly measuredAt?: number;
  readonly output?: string;
}

/**
 * When the gateway took a message on. `clock` says what `wall` is worth: `synced` it was right; `unknown` it was read from
 * a clock that nobody had set, and `boot` with `monotonic` allow it to be corrected later; `restored` it was so, and the
 * gateway that took it on had corrected it before the message was imported here.
 */
export interface AcceptedAt {
  readonly wall: number;
  readonly monotonic: number;
  /** Index into the spool's table of boots; {@link NO_BOOT}: none of this spool's. */
  readonly boot: number;
  readonly clock: 'synced' | 'restored' | 'unknown';
  /** Age clock at acceptance, ms: time to live counts from here. */
  readonly age: number;
}

/** The one thing that flows. */
export interface Message {
  readonly id: Ulid;
  readonly source: Source;
  readonly body: Buffer;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly properties?: Readonly<Record<string, string>>;
  readonly eventTime?: number;
  /** `eventTime` is by the gateway's clock when nobody had set that: it is as wrong as `acceptedAt`, and corrected with it. */
  readonly eventTimeOurs?: true;
  readonly acceptedAt: AcceptedAt;
  /** 0 (first) to 9, or {@link LANE_UNSPECIFIED}. */
  readonly priority: number;
  /** Seconds of age after which it is of no use; absent: the gateway's setting. */
  readonly expiresAfterSecs?: number;
  readonly hops: number;
}

/** When it happened, as well as it is known now that it was accepted at `at`; both ms since 1970. */
export function eventTimeOf({ eventTime, eventTimeOurs, acceptedAt }: Message, at: number): number | undefined {
  if (eventTime === undefined || eventTimeOurs !== true) return eventTime;
  // Read from the same clock as the time of acceptance, it was wrong by as much.
  return eventTime - (acceptedAt.wall - at);
}

/** A message with its place: `seq` grows by one per message in a lane and is never used again. */
export interface Stored {
  readonly lane: number;
  readonly epoch: number;
  readonly seq: number;
  readonly message: Message;
}
