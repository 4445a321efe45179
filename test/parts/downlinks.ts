import type { DownPublication } from '../../src/dialects/upstream-dialect.ts';
import type { Downlink, Line } from '../../src/upstream/downlink.ts';

/** Somebody whom nothing from above concerns. */
export const DEAF: Downlink = {
  connected: () => undefined,
  asked: () => undefined,
  heard: (_, stored) => stored(),
  oversized: () => undefined,
  lost: () => undefined,
};

/** Somebody who answers each method at once. */
export class Ponging implements Downlink {
  #line: Line | null = null;
  readonly asked = () => undefined;
  readonly oversized = () => undefined;

  connected(line: Line): void {
    this.#line = line;
  }

  heard({ topic }: DownPublication, stored: () => void): void {
    stored();
    this.#line?.publish({ topic: topic.replace('/req/', '/res/'), body: Buffer.from('pong'), qos: 0 });
  }

  lost(): void {
    this.#line = null;
  }
}
