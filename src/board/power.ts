import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * What a Raspberry Pi says of its supply and of what it does to save itself; null where nobody says: kernels of Debian have
 * neither of the two places, and "unknown" is not "fine".
 */
export interface Power {
  /** The supply is under 4.63 V, or was since the kernel last looked (a bit that it clears each 2 s). */
  readonly underVoltage: boolean | null;
  /** The processor is slowed down now, by the supply or by heat. */
  readonly throttled: boolean | null;
  /** The same at any time since the board booted. */
  readonly underVoltageSinceBoot: boolean | null;
  readonly throttledSinceBoot: boolean | null;
}

/** Bits of `get_throttled` (Raspberry Pi documentation, "vcgencmd get_throttled"). */
const UNDER_VOLTAGE = 1 << 0;
const CAPPED = 1 << 1;
const THROTTLED = 1 << 2;
const SOFT_LIMIT = 1 << 3;
const SINCE_BOOT = 16;

const FIRMWARE = 'sys/devices/platform/soc/soc:firmware/get_throttled';

/** Reads the firmware's word, which kernels of Raspberry Pi OS pass on, and the hwmon device `rpi_volt`. */
export async function readPower(root = '/'): Promise<Power> {
  const word = await firmwareWord(root);
  const has = (bits: number): boolean | null => (word === null ? null : (word & bits) !== 0);
  const slowed = CAPPED | THROTTLED | SOFT_LIMIT;
  return {
    underVoltage: (await voltageAlarm(root)) ?? has(UNDER_VOLTAGE),
    throttled: has(slowed),
    underVoltageSinceBoot: has(UNDER_VOLTAGE << SINCE_BOOT),
    throttledSinceBoot: has(slowed << SINCE_BOOT),
  };
}

/** Hexadecimal, with or without `0x`. */
async function firmwareWord(root: string): Promise<number | null> {
  const text = (await readFile(join(root, FIRMWARE), 'latin1').catch(() => '')).trim();
  return /^(0x)?[0-9a-f]+$/i.test(text) ? Number.parseInt(text, 16) : null;
}

async function voltageAlarm(root: string): Promise<boolean | null> {
  const devices = join(root, 'sys/class/hwmon');
  for (const device of await readdir(devices).catch(() => [])) {
    const name = await readFile(join(devices, device, 'name'), 'latin1').catch(() => '');
    if (name.trim() !== 'rpi_volt') continue;
    const alarm = (await readFile(join(devices, device, 'in0_lcrit_alarm'), 'latin1').catch(() => '')).trim();
    if (alarm === '0' || alarm === '1') return alarm === '1';
  }
  return null;
}
