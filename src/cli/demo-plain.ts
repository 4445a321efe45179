import { arrivalsText } from './demo-verdict.ts';
import type { Stage } from './demo-stage.ts';
import { degrees, plural, secondsText, stopwatch } from './demo-text.ts';

/** A line at most this often, ms. */
const EVERY_MS = 1000;

/** The view without a terminal: plain lines. */
export class PlainView {
  readonly #stage: Stage;
  readonly #write: (line: string) => void;
  #timer: NodeJS.Timeout | null = null;
  /** Said in place of the next lines of figures. */
  #happened: string[] = [];

  constructor(stage: Stage, write: (line: string) => void) {
    this.#stage = stage;
    this.#write = write;
  }

  start(): void {
    this.#timer = setInterval(() => this.#line(), EVERY_MS);
  }

  happened(text: string): void {
    this.#happened.push(`${stopwatch(this.#stage.scene().runningMs)}  ${text}`);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    for (const text of this.#happened) this.#write(text);
    this.#happened = [];
  }

  #line(): void {
    this.#write(this.#happened.shift() ?? this.#figures());
  }

  #figures(): string {
    const { runningMs, readings, pending, network, watcher, sensors, resets } = this.#stage.scene();
    const { online, forMs, retryInMs } = network;
    const retry = retryInMs === null ? '' : `, retry in ${secondsText(retryInMs)}`;
    const state = online ? 'online' : `offline for ${secondsText(forMs)}${retry}`;
    const temperatures = sensors.map((sensor) => degrees(sensor.temperatures.at(-1) ?? null)).join(', ');
    return `${stopwatch(runningMs)}  ${state}; ${plural(readings, 'reading')} (${temperatures}), ${plural(resets.done, 'reset')} by the rule, ${pending} waiting, ${arrivalsText(watcher.arrivals)}`;
  }
}
