import type { Clock } from '../clock/clock.ts';

export type Level = 0 | 1;
export type GpioEdge = 'none' | 'rising' | 'falling' | 'both';
/** What the chip itself does to an open input: `as-is` leaves it as the board's firmware set it. */
export type GpioBias = 'as-is' | 'none' | 'pull-up' | 'pull-down';

/** A line by its chip's label, or the name of the chip's device, and its place on the chip. */
export interface LinePlace {
  readonly chip: string;
  readonly offset: number;
}

/** A change of level that was asked for. */
export interface EdgeSeen {
  /** The level after it. */
  readonly level: Level;
  /** When it was, by the monotonic clock, ms: the kernel's own stamp where it gives one. */
  readonly at: number;
  /** Edges between the one before and this that the kernel saw and could not keep for us; null: nobody counts them. */
  readonly lost: number | null;
}

export interface GpioLineRequest {
  readonly direction: 'in' | 'out';
  readonly edge: GpioEdge;
  readonly debounceMs: number;
  readonly activeLow: boolean;
  readonly bias: GpioBias;
  /** Level an output starts with, in the logical sense: with `activeLow`, 1 is the low voltage. */
  readonly initial: Level;
  /** Called after an edge that was asked for. */
  readonly onEdge: (edge: EdgeSeen) => void;
  /** Called when the chip went away. */
  readonly onError: (error: Error) => void;
}

/** A line that is ours. Both ways to a line, the character device and sysfs, end in this. */
export interface GpioLine {
  /** How it is reached, for people: `/dev/gpiochip0`, or `sysfs number 529`. */
  readonly through: string;
  /** Whether the kernel keeps and counts edges while we are busy. */
  readonly countsEdges: boolean;
  /** The level when it was opened: whatever changed later comes as an edge. */
  readonly levelAtOpen: Level;
  /** The level now. Throws when the chip is gone. */
  read(): Level;
  /** Throws when the chip is gone. */
  write(level: Level): void;
  /** Gives the line back to the kernel; an output keeps its level for as long as the hardware lets it. */
  release(): void;
}

/**
 * A way to lines. Rejects when the line cannot be had, and gives back what it took when `ended` is aborted while it waits. A
 * {@link NoSuchWay} says that no line can be had in this way, on this machine and by this user; any other way may work.
 */
export type OpenLine = (
  place: LinePlace,
  request: GpioLineRequest,
  ended: AbortSignal,
  clock: Clock,
) => Promise<GpioLine>;

/** This way leads to no line at all. */
export class NoSuchWay extends Error {}

/** What a chip is called: by its driver (`label`), and as a device, which for some chips is the only lasting name. */
export interface ChipNames {
  readonly label: string;
  /** Such as `44e07000.gpio`; null where the kernel does not say. */
  readonly device: string | null;
  readonly lines: number;
}

/**
 * The one chip of this name that has the line. A board has chips that are not its header, so "the first chip" is never
 * meant; and the AM335x's labels depend on the order in which the kernel found its chips, so a device's name will do too.
 */
export function chipOf<Chip extends ChipNames>(chips: readonly Chip[], { chip: name, offset }: LinePlace): Chip {
  const labelled = chips.filter(({ label }) => label === name);
  const found = labelled.length > 0 ? labelled : chips.filter(({ device }) => device === name);
  const [chip] = found;
  if (chip === undefined) {
    const labels = chips.map(({ label }) => `'${label}'`).join(', ');
    throw new Error(`no GPIO chip is labelled '${name}'; this machine has ${labels === '' ? 'none' : labels}`);
  }
  if (found.length > 1)
    throw new Error(`${found.length} GPIO chips are labelled '${name}': which one is meant cannot be told`);
  if (!Number.isSafeInteger(offset) || offset < 0 || offset >= chip.lines) {
    throw new Error(`GPIO chip '${name}' has lines 0 to ${chip.lines - 1}, not ${offset}`);
  }
  return chip;
}
