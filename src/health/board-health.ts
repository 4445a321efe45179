import { readFile } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import type { Logger } from 'pino';
import { diskSpace, usedPercent, type DiskSpace } from '../board/disk-space.ts';
import { StatusLed, type Pattern } from '../board/leds.ts';
import { mediumOf } from '../board/medium.ts';
import { lifeOf, mediumAge, type Life, type MediumAge } from '../board/medium-wear.ts';
import { readPower, type Power } from '../board/power.ts';
import { cpuThermalZone } from '../board/thermal.ts';
import type { Clock, Timer } from '../clock/clock.ts';
import type { HealthConfig } from '../config/health.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Medium } from '../config/profile-schema.ts';

/** A limit is kept again after so many looks that found it kept: what swings about it is said once. */
const FINE_LOOKS = 3;
/** The rate of writing is no news sooner: what is done once at a start would stand for a day's work. */
const RATE_AFTER_SECS = 3_600;
/** How often the LED follows how the gateway does, ms. */
const LED_EVERY_MS = 2_000;
/** How often it is tried: udev takes a moment to give the files of the LED's trigger to the gateway. */
const LED_TRIES = 5;

/** What a look at the board brings; null: nobody says. */
export interface Vitals {
  readonly temperatureCelsius: number | null;
  readonly power: Power;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number } | null;
  /** Of `dataDir`. */
  readonly disk: DiskSpace | null;
  readonly medium: Medium | null;
  readonly age: MediumAge;
}

/** A limit that is not kept. */
export interface Over {
  /** `temperature`, `power`, `memory`, `disk`, `wear`, `filesystem`, `rss`, or `silent:CHILD`. */
  readonly what: string;
  readonly message: string;
}

/** What the gateway knows of itself, as far as it matters here. */
export interface Own {
  readonly upstream: { readonly state: string } | null;
  readonly spool: {
    readonly fault: string | null;
    readonly wear: { readonly bytesPerDay: number };
  };
  readonly hubFault: string | null;
  /** Anything but null: only the least was started, after crashes. */
  readonly safeMode: unknown;
  /** Wired children that should say something: monotonic ms of the last good reading, or null for none yet. */
  readonly lastReadings: Readonly<Record<string, number | null>>;
}

/** As `status` shows it. */
export interface BoardStatus extends Vitals {
  readonly life: Life;
  /** How long each wired child that reads at intervals has given no good reading. */
  readonly silentSecs: Readonly<Record<string, number>>;
  /** What is beyond its limit, and since when (wall ms). */
  readonly over: readonly (Over & { readonly since: number })[];
}

export interface BoardHealthOptions {
  readonly loaded: Pick<LoadedConfig, 'config' | 'profile'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly own: () => Own;
  /** Looks at the board; a test has its own. */
  readonly look?: () => Promise<Vitals>;
  /** The folder of LEDs. */
  readonly leds?: string;
}

/** Looks at the board now and then, warns of what is beyond its limit, and has a LED show how the gateway does. */
export class BoardHealth {
  readonly #options: BoardHealthOptions;
  readonly #over = new Map<string, { over: Over; since: number; fine: number }>();
  #vitals: Vitals = NOTHING;
  #led: StatusLed | null = null;
  #ledFailures = 0;
  #timers: Timer[] = [];
  #looking = false;
  readonly #startedAt: number;

  constructor(options: BoardHealthOptions) {
    this.#options = options;
    this.#startedAt = options.clock.monotonic();
  }

  /** The first look is at once, and not waited for. */
  start(): void {
    const { clock, leds } = this.#options;
    const { health } = this.#options.loaded.config;
    const { profile } = this.#options.loaded;
    const look = (): void => void this.look();
    this.#timers.push(clock.every(health.every, look));
    look();
    const names = Object.hasOwn(profile.leds, health.led) ? [profile.leds[health.led] ?? []].flat() : [];
    this.#led = StatusLed.find(names, leds);
    if (this.#led === null) return;
    this.#timers.push(clock.every(LED_EVERY_MS, () => this.#show()));
    this.#show();
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#led?.release();
    this.#led = null;
  }

  /** Looks now; resolves when what is beyond its limit has been said. Never rejects. */
  async look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const { log, loaded, look = () => lookAt(loaded.config.gateway.dataDir) } = this.#options;
    try {
      this.#vitals = await look();
      this.#judge();
    } catch (error) {
      log.debug({ err: error }, 'the board could not be looked at');
    } finally {
      this.#looking = false;
    }
  }

  /** As it was at the last look; with what the gateway knows of itself now. */
  status(own: Own): BoardStatus {
    const over = [...this.#over.values()].map((each) => ({ ...each.over, since: each.since }));
    return { ...this.#vitals, life: this.#life(own), silentSecs: this.#silence(own), over };
  }

  get #upSecs(): number {
    return Math.round((this.#options.clock.monotonic() - this.#startedAt) / 1000);
  }

  #life({ spool }: Own): Life {
    const { ratedTerabytesWritten: rated = null } = this.#options.loaded.config.storeAndForward;
    const rate = this.#upSecs < RATE_AFTER_SECS ? null : spool.wear.bytesPerDay;
    return lifeOf(rated, this.#vitals.age.lifetimeBytes, rate);
  }

  #silence({ lastReadings }: Own): Readonly<Record<string, number>> {
    const now = this.#options.clock.monotonic();
    const secs = (last: number | null) => (last === null ? this.#upSecs : Math.max(0, Math.round((now - last) / 1000)));
    return Object.fromEntries(Object.entries(lastReadings).map(([child, last]) => [child, secs(last)]));
  }

  #judge(): void {
    const { loaded, clock, log } = this.#options;
    const own = this.#options.own();
    const limits = { ...loaded.config.health.limits, rssBytes: loaded.profile.memory?.limit ?? null };
    const now = judged(this.#vitals, this.#life(own), this.#silence(own), process.memoryUsage.rss(), limits);
    for (const over of now) {
      const known = this.#over.get(over.what);
      if (known === undefined) log.warn({ limit: over.what }, over.message);
      this.#over.set(over.what, { over, since: known?.since ?? clock.wall(), fine: 0 });
    }
    for (const [what, each] of this.#over) {
      if (now.some((over) => over.what === what) || ++each.fine < FINE_LOOKS) continue;
      this.#over.delete(what);
      log.info({ limit: what }, `${what} is within its limit again`);
    }
  }

  #show(): void {
    try {
      this.#led?.show(patternOf(this.#options.own()));
      this.#ledFailures = 0;
    } catch (error) {
      if (++this.#ledFailures < LED_TRIES) return;
      this.#options.log.info({ err: error }, 'the LED may not be written: a udev rule gives it to the gateway');
      this.#led?.release();
      this.#led = null;
    }
  }
}

const NOTHING: Vitals = {
  temperatureCelsius: null,
  power: { underVoltage: null, throttled: null, underVoltageSinceBoot: null, throttledSinceBoot: null },
  memory: null,
  disk: null,
  medium: null,
  age: { lifetimeBytes: null, usedPercent: null, nearEnd: null, filesystemErrors: null },
};

export function patternOf({ spool, hubFault, safeMode, upstream }: Own): Pattern {
  if (spool.fault !== null || hubFault !== null || safeMode !== null) return 'fault';
  if (upstream === null) return 'storing';
  return upstream.state === 'online' ? 'online' : 'offline';
}

/** The configured limits, and the profile's for the gateway's own memory. */
export type Limits = HealthConfig['limits'] & { readonly rssBytes: number | null };

/** What is beyond its limit; `silentSecs`: how long each child has given no good reading. */
export function judged(
  { temperatureCelsius, power, memory, disk, age }: Vitals,
  life: Life,
  silentSecs: Readonly<Record<string, number>>,
  rssBytes: number,
  limits: Limits,
): Over[] {
  const over: Over[] = [];
  const add = (what: string, message: string): void => void over.push({ what, message });
  if (temperatureCelsius !== null && temperatureCelsius > limits.temperatureCelsius)
    add('temperature', `the processor has ${temperatureCelsius.toFixed(1)} C, over ${limits.temperatureCelsius} C`);
  if (power.underVoltage === true)
    add('power', 'the supply gives too little voltage: a stronger one, or a shorter cable');
  else if (power.throttled === true) add('power', 'the processor is slowed down, by heat or by a weak supply');
  for (const [what, used, most] of [
    ['memory', memory && Math.round((1 - memory.availableBytes / memory.totalBytes) * 100), limits.memoryPercent],
    ['disk', disk && usedPercent(disk), limits.diskPercent],
  ] as const) {
    if (used !== null && used > most) add(what, `${used} % of the ${what} is in use, over ${most} %`);
  }
  if (limits.rssBytes !== null && rssBytes > limits.rssBytes)
    add(
      'rss',
      `the gateway takes ${mebibytes(rssBytes)}, over the ${mebibytes(limits.rssBytes)} that the profile allows`,
    );
  if (age.nearEnd === true || (age.usedPercent ?? 0) > 90)
    add('wear', `the eMMC says that ${age.usedPercent} % of its life is used`);
  else if (life.daysLeft !== null && life.daysLeft < limits.lifeDays)
    add('wear', `the medium lasts for ${life.daysLeft} days more, at the rate at which it is written`);
  if ((age.filesystemErrors ?? 0) > 0)
    add(
      'filesystem',
      `the filesystem of dataDir has met ${age.filesystemErrors} errors: have it checked, or change the card`,
    );
  const { silentAfter } = limits;
  if (silentAfter === undefined) return over;
  for (const [child, secs] of Object.entries(silentSecs)) {
    if (secs * 1000 > silentAfter) add(`silent:${child}`, `${child} has given no good reading for ${secs} s`);
  }
  return over;
}

async function lookAt(dataDir: string): Promise<Vitals> {
  const [temperatureCelsius, power, memory, disk] = await Promise.all([
    cpuThermalZone(),
    readPower(),
    memorySpace(),
    diskSpace(dataDir),
  ]);
  return { temperatureCelsius, power, memory, disk, medium: mediumOf(dataDir), age: mediumAge(dataDir) };
}

async function memorySpace(): Promise<Vitals['memory']> {
  // `freemem` leaves out what the kernel would give back at once.
  const available = /^MemAvailable: +(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'latin1').catch(() => ''))?.[1];
  return { totalBytes: totalmem(), availableBytes: available === undefined ? freemem() : Number(available) * 1024 };
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
