import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../src/board/recognition.ts';
import { SystemClock } from '../../src/clock/system-clock.ts';
import { loadConfig, type ConfigError, type LoadedConfig } from '../../src/config/load.ts';
import type { GpioKernel } from '../../src/drivers/gpio-kernel.ts';
import { allChecks } from '../../src/health/checks/catalogue.ts';
import { runChecks, type Report } from '../../src/health/checks/check.ts';
import type { Neighbour } from '../../src/health/checks/scene.ts';
import { scratch } from './scratch.ts';

const ABSENT: Neighbour = { is: 'absent', why: 'none is running' };

export interface Case {
  readonly yaml: string;
  readonly dir?: string;
  readonly only?: readonly string[];
  readonly gateway?: Neighbour;
  readonly timeKnown?: boolean;
  readonly gpioRoot?: string;
  readonly gpioKernel?: () => GpioKernel;
  readonly machine?: Machine;
}

/** What the checks say about a configuration, by id. */
export async function reports({
  yaml,
  dir = scratch(),
  only = [],
  gateway = ABSENT,
  timeKnown = true,
  gpioRoot = '/none',
  gpioKernel,
  machine,
}: Case): Promise<Record<string, Report>> {
  const file = join(dir, 'gateway.yaml');
  writeFileSync(file, yaml);
  let loaded: LoadedConfig | ConfigError;
  try {
    loaded = loadConfig(file);
  } catch (error) {
    loaded = error as ConfigError;
  }
  const clock = new SystemClock(() => timeKnown);
  const place = { gpioRoot, ...(gpioKernel && { gpioKernel }), ...(machine && { machine }) };
  const checks = allChecks({ file, loaded, clock, gateway, user: 'ada', ...place });
  const found: Record<string, Report> = {};
  for await (const report of runChecks(checks, { only, skip: [] }, clock)) found[report.id] = report;
  return found;
}
