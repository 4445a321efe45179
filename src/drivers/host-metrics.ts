import { readdir, readFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { bytesWrittenBelow } from '../board/block-device.ts';
import { mediumOf } from '../board/medium.ts';
import { lifeOf, mediumAge, perDay } from '../board/medium-wear.ts';
import { readPower } from '../board/power.ts';
import { cpuThermalZone } from '../board/thermal.ts';
import type { Clock } from '../clock/clock.ts';

export type HostMetric = 'cpuTemperature' | 'load' | 'memory' | 'disk' | 'network' | 'power' | 'wear' | 'lastReadings';

/** What a host driver knows of the gateway around it. */
export interface Surroundings {
  readonly dataDir: string;
  /** Of the medium under it, where somebody has said. */
  readonly ratedTerabytesWritten: number | null;
  /** When each wired child gave its last good reading, monotonic ms; null: it gave none yet. */
  readonly lastReadings: () => Readonly<Record<string, number | null>>;
}

/** Most mounts and network interfaces that are reported; a host of containers can have hundreds. */
const MOUNTS_MAX = 16;
const INTERFACES_MAX = 16;

/** Asks for one metric; answers with what goes into the body under its name. */
export type HostProbe = () => Promise<unknown>;

/*
 * What the calls of systeminformation 5.33 cost on a fast 2-core machine (time; how long the event loop stood still; a
 * Raspberry Pi takes several times as long), and so where its answer is taken and where the kernel is read directly:
 *   mem             1 ms, 1 ms    reads /proc/meminfo: used
 *   fsSize         10 ms, 6 ms    a shell for `cat`, synchronously, then `df`: used, there is no cheaper call
 *   cpuTemperature 14 ms, 7 ms    two to four shells, the first synchronously: only where no thermal zone is the CPU's
 *   currentLoad     6 ms, 6 ms    a shell for `cat`, synchronously, and on first use a wait of 500 ms: not used
 *   networkStats   13 ms, 5 ms    a shell and seven `cat` per interface; with '*' first 70 ms of synchronous shells; puts
 *                                 methods into String.prototype; says 0 for what it does not know: not used
 * The import itself costs 30 ms and 10 MiB, and is paid by the first of the metrics that needs it.
 */

/** A probe for each metric, with the state that some keep from one reading to the next. */
export function hostProbes(around: Surroundings, clock: Clock): Record<HostMetric, HostProbe> {
  return {
    cpuTemperature: cpuTemperatureProbe(),
    load: loadProbe(),
    memory,
    disk,
    network,
    power: () => readPower(),
    wear: wearProbe(around, clock),
    lastReadings: async () => secondsSince(around.lastReadings(), clock.monotonic()),
  };
}

/** How old the medium under `dataDir` is, what is written to it in a day, by whoever writes, and how long it lasts so. */
function wearProbe({ dataDir, ratedTerabytesWritten }: Surroundings, clock: Clock): HostProbe {
  const since = clock.monotonic();
  const before = bytesWrittenBelow(dataDir);
  return async () => {
    const now = bytesWrittenBelow(dataDir);
    const bytes = now === null || before === null ? null : now - before;
    const bytesPerDay = bytes === null ? null : perDay(bytes, clock.monotonic() - since);
    const age = mediumAge(dataDir);
    return { medium: mediumOf(dataDir), ...age, ...lifeOf(ratedTerabytesWritten, age.lifetimeBytes, bytesPerDay) };
  };
}

/** Of each child, seconds since its last good reading; null: none yet. */
function secondsSince(last: Readonly<Record<string, number | null>>, now: number): Record<string, number | null> {
  const secs = (at: number | null) => (at === null ? null : Math.max(0, Math.round((now - at) / 1000)));
  return Object.fromEntries(Object.entries(last).map(([child, at]) => [child, secs(at)]));
}

/** A finite number as it is, anything else as null: what is not known is not 0. */
function known(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** Degrees C, or null where the board does not say. */
function cpuTemperatureProbe(): HostProbe {
  let systemInformationKnows = true;
  return async () => {
    const zone = await cpuThermalZone();
    if (zone !== null) return zone;
    if (!systemInformationKnows) return null;
    const { cpuTemperature } = await import('systeminformation');
    const { main } = await cpuTemperature();
    // It tried `sensors` and `vcgencmd`, with a shell each; a sensor does not appear while we run.
    if (known(main) === null) systemInformationKnows = false;
    return known(main);
  };
}

/** `{cpu, loadavg}`: the share of all CPUs' time that was spent since the last reading, 0 to 1, and the kernel's averages. */
function loadProbe(): HostProbe {
  let before = cpuTimes();
  return async () => {
    const now = cpuTimes();
    const total = now.total - before.total;
    const cpu = total > 0 ? Math.min(1, Math.max(0, 1 - (now.idle - before.idle) / total)) : null;
    before = now;
    return { cpu: known(cpu), loadavg: loadavg() };
  };
}

function cpuTimes(): { idle: number; total: number } {
  let idle = 0;
  let total = 0;
  for (const { times } of cpus()) {
    idle += times.idle;
    total += times.user + times.nice + times.sys + times.idle + times.irq;
  }
  return { idle, total };
}

async function memory(): Promise<unknown> {
  const { mem } = await import('systeminformation');
  const { total, available } = await mem();
  return { totalBytes: known(total), availableBytes: known(available), usedBytes: known(total - available) };
}

async function disk(): Promise<unknown> {
  const { fsSize } = await import('systeminformation');
  const mounts = await fsSize();
  return mounts.slice(0, MOUNTS_MAX).map(({ mount, size, used, available }) => ({
    mount,
    sizeBytes: known(size),
    usedBytes: known(used),
    availableBytes: known(available),
  }));
}

/** All interfaces but the loopback; `up` is null where the kernel gives no state. */
async function network(): Promise<unknown> {
  const root = '/sys/class/net';
  const names = (await readdir(root)).filter((name) => name !== 'lo').slice(0, INTERFACES_MAX);
  return Promise.all(
    names.map(async (iface) => {
      const read = async (file: string): Promise<string | null> =>
        readFile(`${root}/${iface}/${file}`, 'utf8').then(
          (text) => text.trim(),
          () => null,
        );
      const [state, rx, tx] = await Promise.all([
        read('operstate'),
        read('statistics/rx_bytes'),
        read('statistics/tx_bytes'),
      ]);
      // Tunnels and modems have no carrier to speak of: they are `unknown` while they work.
      const up = state === null ? null : state === 'up' || state === 'unknown';
      return {
        iface,
        rxBytes: rx === null ? null : known(Number(rx)),
        txBytes: tx === null ? null : known(Number(tx)),
        up,
      };
    }),
  );
}
