import type { Machine } from '../../board/recognition.ts';
import type { Clock } from '../../clock/clock.ts';
import type { ConfigError, LoadedConfig } from '../../config/load.ts';
import { BUILT_AT } from '../../config/version.ts';
import type { GpioKernel } from '../../drivers/gpio-kernel.ts';
import type { SpoolStats } from '../../spool/stats.ts';
import type { GatewayStatus } from '../status.ts';

/** What checks look at. */
export interface Scene {
  /** The configuration as it was named. */
  readonly file: string;
  /** What is in it, or why it cannot be used. */
  readonly loaded: LoadedConfig | ConfigError;
  readonly clock: Clock;
  /** The gateway that runs with it. */
  readonly gateway: Neighbour;
  /** In whose name we look. */
  readonly user: string;
  /** Where the kernel shows its GPIO chips. */
  readonly gpioRoot: string;
  /** Asks for its character devices; the machine's own when left out. */
  readonly gpioKernel?: () => GpioKernel;
  /** What it says of itself; the machine that we run on when left out. */
  readonly machine?: Machine;
  /** When this program was built, wall ms; what the build says when left out. */
  readonly builtAt?: number;
}

/** The latest time that has certainly passed, wall ms: now, or when this program was built while nobody knows what time it is. */
export function certainTime({ clock, builtAt = BUILT_AT ?? 0 }: Scene): number {
  return clock.known() ? clock.wall() : builtAt;
}

/** The gateway that may be running: not there, there and in good order, or there and without an answer. */
export type Neighbour =
  | { readonly is: 'absent'; readonly why: string }
  | { readonly is: 'silent'; readonly why: string }
  | { readonly is: 'running'; readonly status: GatewayStatus; readonly spoolStats: () => Promise<SpoolStats> };
