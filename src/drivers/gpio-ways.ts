import { characterWay } from './gpio-character.ts';
import { type GpioLine, NoSuchWay, type OpenLine } from './gpio-line.ts';
import { sysfsWay } from './gpio-sysfs.ts';

/**
 * The character device where it works, and sysfs where it does not: before Linux 5.10, without permission for
 * /dev/gpiochip*, or where its native parts cannot be loaded. What is wrong with the line itself is no reason to try sysfs.
 */
export function eitherWay(character: OpenLine = characterWay(), sysfs: OpenLine = sysfsWay()): OpenLine {
  return async (...asked) => {
    let reason: string;
    try {
      return await character(...asked);
    } catch (error) {
      if (!(error instanceof NoSuchWay)) throw error;
      reason = error.message;
    }
    try {
      return withReason(await sysfs(...asked), reason);
    } catch (error) {
      throw new Error(`by sysfs: ${(error as Error).message}; by the character device: ${reason}`, { cause: error });
    }
  };
}

function withReason(line: GpioLine, reason: string): GpioLine {
  return {
    through: `${line.through} (not the character device: ${reason})`,
    countsEdges: line.countsEdges,
    levelAtOpen: line.levelAtOpen,
    read: () => line.read(),
    write: (level) => line.write(level),
    release: () => line.release(),
  };
}
