import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const LEDS = '/sys/class/leds';

/** How the gateway does, as a LED shows it. */
export type Pattern = 'online' | 'offline' | 'storing' | 'fault';

/** On and off, ms, over and over; by the kernel's trigger `timer` (Documentation/leds/leds-class.rst). */
export const PATTERNS: Readonly<Record<Pattern, { readonly on: number; readonly off: number }>> = {
  /** A short flash: all is well. */
  online: { on: 100, off: 1_900 },
  /** Half and half: no broker, messages wait. */
  offline: { on: 1_000, off: 1_000 },
  /** Hardly ever dark: nothing is to be sent anywhere, messages are stored. */
  storing: { on: 1_900, off: 100 },
  /** Hurried: somebody must come. */
  fault: { on: 125, off: 125 },
};

/** A LED of the board that shows patterns; it goes on blinking by itself, also while we are busy. */
export class StatusLed {
  readonly #folder: string;
  #before: string | undefined;
  #chosen = false;
  #shown: Pattern | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** The first of these LEDs that the board has; null when it has none. */
  static find(names: readonly string[], root: string = LEDS): StatusLed | null {
    const folder = names.map((name) => join(root, name)).find((each) => existsSync(join(each, 'trigger')));
    return folder === undefined ? null : new StatusLed(folder);
  }

  /**
   * Throws when it may not be written: a udev rule gives it to the gateway's group, and the trigger's own files a moment after they
   * were made.
   */
  show(pattern: Pattern): void {
    if (pattern === this.#shown) return;
    this.#before ??= selected(readFileSync(join(this.#folder, 'trigger'), 'latin1'));
    const { on, off } = PATTERNS[pattern];
    // Only the trigger makes the other two files; chosen again, it makes them anew, and root's again.
    if (!this.#chosen || !existsSync(join(this.#folder, 'delay_on'))) this.#write('trigger', 'timer');
    this.#chosen = true;
    this.#write('delay_on', String(on));
    this.#write('delay_off', String(off));
    this.#shown = pattern;
  }

  /** Gives it back to what drove it before. */
  release(): void {
    if (this.#before === undefined) return;
    try {
      this.#write('trigger', this.#before);
      if (this.#before === 'none') this.#write('brightness', '0');
    } catch {
      // What cannot be written any more stays as it is.
    }
    this.#before = this.#shown = undefined;
    this.#chosen = false;
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.#folder, file), text);
  }
}

/** The trigger in brackets: `none [heartbeat] timer`. Our own was left by a gateway that was killed: what was before, nobody knows. */
function selected(triggers: string): string {
  const trigger = /\[([^\]]+)\]/.exec(triggers)?.[1] ?? 'none';
  return trigger === 'timer' ? 'none' : trigger;
}
