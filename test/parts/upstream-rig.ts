import { pino } from 'pino';
import type { Clock } from '../../src/clock/clock.ts';
import { holdfastUpstream } from '../../src/dialects/holdfast-upstream.ts';
import { Upstream, type UpstreamOptions } from '../../src/upstream/upstream.ts';
import { chance } from './chance.ts';
import { DEAF } from './downlinks.ts';
import { SEED } from './seed.ts';
import { SpoolRig, systemClock, type RigOptions } from './spool-rig.ts';
import { until } from './until.ts';

export interface UpstreamRigOptions extends Partial<
  Omit<UpstreamOptions, 'url' | 'outbox' | 'clock' | 'log' | 'status'>
> {
  readonly clock?: Clock;
  readonly spool?: RigOptions;
}

/** A real spool and a real upstream, as gateway.ts puts them together. */
export class UpstreamRig {
  readonly rig: SpoolRig;
  readonly upstream: Upstream;
  readonly log: { level: number; msg: string; [key: string]: unknown }[] = [];

  private constructor(rig: SpoolRig, url: string, options: UpstreamRigOptions) {
    const { clock = systemClock, spool: _, ...given } = options;
    this.rig = rig;
    this.upstream = new Upstream({
      dialect: holdfastUpstream('line-4'),
      url,
      protocol: '5',
      clientId: 'line-4',
      keepaliveSecs: 30,
      window: 16,
      reconnect: { minSecs: 0.01, maxSecs: 0.02 },
      credentials: () => ({ tls: {} }),
      random: chance(SEED),
      downlink: DEAF,
      ...given,
      outbox: rig.spool,
      status: () => ({ version: 'test' }),
      clock,
      log: pino({ level: 'debug', base: null }, { write: (line: string) => void this.log.push(JSON.parse(line)) }),
    });
  }

  /** Opened, not started. */
  static async open(url: string, options: UpstreamRigOptions = {}): Promise<UpstreamRig> {
    const clock = options.clock === undefined ? {} : { clock: options.clock };
    return new UpstreamRig(await SpoolRig.open({ ...clock, ...options.spool }), url, options);
  }

  /** Accepts messages `1` to `count` and makes them durable. */
  async fill(count: number, from = 1): Promise<void> {
    for (let n = from; n < from + count; n++) void this.rig.accept(String(n));
    await this.rig.spool.flush();
  }

  /** Resolves when everything accepted is settled. */
  async drained(): Promise<void> {
    await until(
      () => `the spool to be empty; ${this.rig.spool.snapshot().pending} are pending`,
      () => this.rig.spool.snapshot().pending === 0,
    );
  }

  /** Warnings and errors that were logged. */
  complaints(): string[] {
    return this.log.filter(({ level }) => level >= 40).map(({ msg }) => msg);
  }

  async end(): Promise<void> {
    await this.upstream.stop();
    await this.rig.close();
  }
}
