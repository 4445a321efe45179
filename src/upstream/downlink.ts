import type { DownPublication, Stage, UpPublication } from '../dialects/upstream-dialect.ts';

/** A connection, for what goes up besides messages. */
export interface Line {
  /** Calls back with PUBACK's reason, or never: then the connection is gone. With QoS 0 when it has been sent. */
  publish(publication: UpPublication, done?: (reason: number) => void): void;
  /** Resolves when the broker has granted it. */
  subscribe(filters: readonly string[], qos: 0 | 1): Promise<void>;
}

/** Whoever takes what comes from above. Nothing of it may throw. */
export interface Downlink {
  /** There is a connection. `kept`: the broker had kept our session, with all that came for us meanwhile. */
  connected(line: Line, kept: boolean): void;
  /** The broker has been asked for all that belongs to this stage, and to those before it. */
  asked(stage: Stage): void;
  /** `stored`: call it when it need not come again. */
  heard(publication: DownPublication, stored: () => void): void;
  /** Something that was too large to be read; it does not come again. */
  oversized(topic: string, bytes: number): void;
  lost(): void;
}
