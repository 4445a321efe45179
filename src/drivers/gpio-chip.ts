import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the kernel shows its GPIO chips when it was built with CONFIG_GPIO_SYSFS. */
export const SYSFS_GPIO = '/sys/class/gpio';

/** One chip as the kernel numbers it: its lines are `base` .. `base + lines - 1`. */
export interface GpioChip {
  readonly label: string;
  readonly base: number;
  readonly lines: number;
}

/** The chips that are there, in no particular order. Rejects when the kernel has no sysfs GPIO. */
export async function gpioChips(root: string = SYSFS_GPIO): Promise<GpioChip[]> {
  let names: string[];
  try {
    names = await readdir(root);
  } catch (error) {
    throw new Error(`this kernel offers no GPIO in ${root}: no GPIO chip, or built without CONFIG_GPIO_SYSFS`, {
      cause: error,
    });
  }
  const chips: GpioChip[] = [];
  for (const name of names.filter((each) => each.startsWith('gpiochip'))) {
    const read = async (file: string): Promise<string> => (await readFile(join(root, name, file), 'utf8')).trim();
    try {
      const chip = { label: await read('label'), base: Number(await read('base')), lines: Number(await read('ngpio')) };
      if (Number.isSafeInteger(chip.base) && Number.isSafeInteger(chip.lines)) chips.push(chip);
    } catch {
      // The chip was unplugged between being listed and being read: then it is not there.
    }
  }
  return chips;
}

/**
 * The number by which sysfs knows line `offset` of the chip with this label. A chip's base differs between kernels (458,
 * 504, 512, 571 and 1016 were seen for the same header), and a board has chips that are not its header, so neither a bare
 * number from a pin table nor "the first chip" ever names a line.
 */
export async function sysfsNumber(label: string, offset: number, root: string = SYSFS_GPIO): Promise<number> {
  const chips = await gpioChips(root);
  const found = chips.filter((chip) => chip.label === label);
  const [chip] = found;
  if (chip === undefined) {
    const labels = chips.map((each) => `'${each.label}'`).join(', ');
    throw new Error(`no GPIO chip is labelled '${label}'; this machine has ${labels === '' ? 'none' : labels}`);
  }
  if (found.length > 1)
    throw new Error(`${found.length} GPIO chips are labelled '${label}': which one is meant cannot be told`);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset >= chip.lines) {
    throw new Error(`GPIO chip '${label}' has lines 0 to ${chip.lines - 1}, not ${offset}`);
  }
  return chip.base + offset;
}
