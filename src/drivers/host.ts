import type { Clock, Timer } from '../clock/clock.ts';
import type { Driver, DriverContext } from './driver.ts';
import { type HostMetric, type HostProbe, hostProbes, type Surroundings } from './host-metrics.ts';

/** Longest that a reading waits for one metric, ms. */
const METRIC_MS_MAX = 10_000;

export interface HostOptions {
  readonly everyMs: number;
  readonly metrics: readonly HostMetric[];
  readonly around: Surroundings;
}

/**
 * The board's own health: at start and then each `everyMs` one JSON object with the chosen metrics. A metric that fails or
 * hangs is null, and does not keep the others; while one hangs (`df` on a dead network mount) it is not asked again.
 */
export class HostDriver implements Driver {
  readonly #options: HostOptions;
  readonly #context: DriverContext;
  readonly #probes: Record<HostMetric, HostProbe>;
  readonly #hanging = new Set<HostMetric>();
  readonly #unavailable = new Set<HostMetric>();
  #timer: Timer | undefined;
  #busy = false;
  #turn = 0;

  constructor(options: HostOptions, context: DriverContext, probes?: Record<HostMetric, HostProbe>) {
    this.#options = options;
    this.#context = context;
    this.#probes = probes ?? hostProbes(options.around, context.clock);
  }

  async start(): Promise<void> {
    const turn = ++this.#turn;
    this.#busy = false;
    const read = (): void => {
      this.#read(turn).catch((error: Error) => this.#context.failed(error));
    };
    this.#timer = this.#context.clock.every(this.#options.everyMs, read);
    read();
  }

  async stop(): Promise<void> {
    this.#turn++;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #read(turn: number): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const measuredAt = this.#context.clock.monotonic();
    const values = await Promise.all(this.#options.metrics.map((metric) => this.#ask(metric)));
    if (turn !== this.#turn) return;
    this.#busy = false;
    const body = Object.fromEntries(this.#options.metrics.map((metric, i) => [metric, values[i] ?? null]));
    this.#context.emit({
      body: Buffer.from(JSON.stringify(body)),
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      measuredAt,
    });
  }

  /** The metric's value, or null after a line in the log. */
  async #ask(metric: HostMetric): Promise<unknown> {
    if (this.#hanging.has(metric)) return null;
    this.#hanging.add(metric);
    const asked = Promise.resolve()
      .then(this.#probes[metric])
      .finally(() => this.#hanging.delete(metric));
    try {
      const value = await within(METRIC_MS_MAX, asked, this.#context.clock);
      this.#unavailable.delete(metric);
      return value;
    } catch (error) {
      // Once, not each minute.
      if (!this.#unavailable.has(metric))
        this.#context.log.warn({ metric, err: error }, 'a host metric is not available');
      this.#unavailable.add(metric);
      return null;
    }
  }
}

/** What `promise` comes to, or a rejection after `ms`. */
async function within<T>(ms: number, promise: Promise<T>, clock: Clock): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = clock.after(ms, () => reject(new Error(`no answer in ${ms} ms`)));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer?.cancel();
  }
}
