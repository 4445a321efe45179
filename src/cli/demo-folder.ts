import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { RULE_MODULES, RULE_ROUTE } from './demo-rule.ts';
import { CliError } from './output.ts';

/** The first line of a configuration that is ours to write over. */
const MARK = '# Written by `holdfast simulate`, anew at each run.';
const DATA = 'data';

export interface DemoConfig {
  readonly gateway: string;
  readonly brokerUrl: string;
  readonly sensors: readonly string[];
  readonly intervalMs: number;
}

/** Where a demonstration keeps its files: a folder of its own that goes with it, or one that the user wants kept. */
export class DemoFolder {
  readonly path: string;
  readonly kept: boolean;

  /** `keep` undefined: a new temporary folder. Throws when the folder cannot be made, or holds somebody's own configuration. */
  constructor(keep: string | undefined) {
    this.kept = keep !== undefined;
    try {
      if (keep !== undefined) mkdirSync(keep, { recursive: true });
      this.path = keep === undefined ? mkdtempSync(join(tmpdir(), 'holdfast-demo-')) : resolve(keep);
    } catch (error) {
      throw new CliError(`cannot make a folder for the simulation: ${(error as Error).message}`);
    }
    if (existsSync(this.config) && !readFileSync(this.config, 'utf8').startsWith(MARK)) {
      throw new CliError(`${this.config} was not written by simulate, which would replace it; name another folder`);
    }
  }

  get config(): string {
    return join(this.path, 'gateway.yaml');
  }

  get dataDir(): string {
    return join(this.path, DATA);
  }

  writeConfig(demo: DemoConfig): void {
    writeFileSync(this.config, configText(demo));
  }

  /** Removes a temporary folder; one that is kept stays. */
  remove(): void {
    if (!this.kept) rmSync(this.path, { recursive: true, force: true });
  }
}

function configText({ gateway, brokerUrl, sensors, intervalMs }: DemoConfig): string {
  const children = sensors.map(
    (id) => `  - id: ${id}\n    simulated: { sendIntervalMs: ${intervalMs}, messageCount: -1 }\n`,
  );
  return `${MARK}
# This is what any gateway's configuration looks like; only the broker and the sensors are not real.
gateway:
  id: ${gateway}
  profile: simulated
  dataDir: ${DATA}
upstream:
  url: ${brokerUrl}
  protocol: '3.1.1'
  reconnect: { minSecs: 0.2, maxSecs: 1 }
storeAndForward:
  quota: 64MiB
  keepFree: 0%
routes:
  telemetry: FROM /messages/* INTO $upstream
${RULE_ROUTE}
${RULE_MODULES}
children:
${children.join('')}`;
}
