import { readdir, readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { chipOf, type ChipNames, type LinePlace, NoSuchWay } from './gpio-line.ts';

/** Where the kernel shows its GPIO chips when it was built with CONFIG_GPIO_SYSFS. */
export const SYSFS_GPIO = '/sys/class/gpio';

/** One chip as the kernel numbers it: its lines are `base` .. `base + lines - 1`. */
export interface GpioChip extends ChipNames {
  readonly base: number;
}

/** The chips that are there, in no particular order. Rejects when the kernel has no sysfs GPIO. */
export async function gpioChips(root: string = SYSFS_GPIO): Promise<GpioChip[]> {
  let names: string[];
  try {
    names = await readdir(root);
  } catch (error) {
    throw new NoSuchWay(`this kernel offers no GPIO in ${root}: no GPIO chip, or built without CONFIG_GPIO_SYSFS`, {
      cause: error,
    });
  }
  const chips: GpioChip[] = [];
  for (const name of names.filter((each) => each.startsWith('gpiochip'))) {
    const read = async (file: string): Promise<string> => (await readFile(join(root, name, file), 'utf8')).trim();
    try {
      const device = await realpath(join(root, name, 'device')).then(basename, () => null);
      const [label, base, lines] = [await read('label'), Number(await read('base')), Number(await read('ngpio'))];
      if (Number.isSafeInteger(base) && Number.isSafeInteger(lines)) chips.push({ label, device, base, lines });
    } catch {
      // The chip was unplugged between being listed and being read: then it is not there.
    }
  }
  return chips;
}

/**
 * The number by which sysfs knows a line. A chip's base differs between kernels (458, 504, 512, 571 and 1016 were seen for
 * the same header), so a bare number from a pin table never names a line.
 */
export async function sysfsNumber(place: LinePlace, root: string = SYSFS_GPIO): Promise<number> {
  return chipOf(await gpioChips(root), place).base + place.offset;
}
