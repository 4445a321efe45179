import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The thermal zone that is named for the CPU (`cpu-thermal` on a Pi), degrees C; null where there is none. */
export async function cpuThermalZone(root = '/'): Promise<number | null> {
  const zones = join(root, 'sys/class/thermal');
  const names = await readdir(zones).catch(() => []);
  for (const zone of names.filter((name) => name.startsWith('thermal_zone'))) {
    const type = await readFile(join(zones, zone, 'type'), 'utf8').catch(() => '');
    // `x86_pkg_temp` is what a PC calls its processor's.
    if (!/cpu|x86_pkg/i.test(type)) continue;
    const milli = await readFile(join(zones, zone, 'temp'), 'utf8').catch(() => '');
    const celsius = Number(milli) / 1000;
    if (milli.trim() !== '' && Number.isFinite(celsius)) return celsius;
  }
  return null;
}
