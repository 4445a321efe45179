import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a machine says of itself. */
export interface Machine {
  /** `/proc/device-tree/model`; null on machines without a device tree. */
  readonly model: string | null;
  /** Maker and product from the firmware of a PC (`/sys/class/dmi/id`). */
  readonly dmi: string | null;
  /** As Node.js names it: `arm64`. */
  readonly processor: string;
}

/** The part of a profile that tells a board. */
export interface Recognisable {
  readonly recognise: readonly string[];
  readonly recogniseDmi: readonly string[];
  readonly processors: readonly string[];
}

/** How surely a board was told: its own name, or only that it has such a processor. */
export type Certainty = 'model' | 'processor';

export interface Recognised<Profile> {
  readonly profile: Profile;
  readonly by: Certainty;
  /** What it was told by, for people. */
  readonly because: string;
}

/** The machine that we run on. */
export function thisMachine(root = '/', processor: string = process.arch): Machine {
  const read = (path: string): string | null => {
    try {
      // The device tree's strings end in a NUL.
      const text = readFileSync(join(root, path), 'utf8').replaceAll('\0', '').trim();
      return text === '' ? null : text;
    } catch {
      return null;
    }
  };
  const dmi = [read('sys/class/dmi/id/sys_vendor'), read('sys/class/dmi/id/product_name')].filter((x) => x !== null);
  return { model: read('proc/device-tree/model'), dmi: dmi.length === 0 ? null : dmi.join(' '), processor };
}

/**
 * The profile of a machine: that with the longest name for it, else one for any machine with such a processor; null where
 * none fits. A name tells in whole words: a `Raspberry Pi 500` is no `Raspberry Pi 5`.
 */
export function recognise<Profile extends Recognisable>(
  machine: Machine,
  profiles: readonly Profile[],
): Recognised<Profile> | null {
  let best: { profile: Profile; name: string; text: string } | undefined;
  for (const profile of profiles) {
    for (const [names, text] of [
      [profile.recognise, machine.model],
      [profile.recogniseDmi, machine.dmi],
    ] as const) {
      for (const name of names) {
        if (text !== null && begins(text, name) && name.length > (best?.name.length ?? 0))
          best = { profile, name, text };
      }
    }
  }
  if (best !== undefined) return { profile: best.profile, by: 'model', because: `it calls itself "${best.text}"` };
  const general = profiles.find(({ processors }) => processors.includes(machine.processor));
  if (general === undefined) return null;
  return { profile: general, by: 'processor', because: `it has a processor of the kind ${machine.processor}` };
}

function begins(text: string, name: string): boolean {
  return text.startsWith(name) && !/^[\p{L}\p{N}]/u.test(text.slice(name.length));
}
