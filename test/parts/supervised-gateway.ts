import { setTimeout as sleep } from 'node:timers/promises';
import { asked } from './asked.ts';
import { GatewayProcess } from './gateway-process.ts';

/** Starts without one that lasts that are a loop: systemd, as we set it up, would go on for ever. */
const LIVES_MAX = 5;
/** A gateway that has run for so long after it said so is taken to go on, ms. */
const STEADY_MS = 2000;

/** What `holdfast status --json` says, as far as the tests of faults look at it. */
export interface SeenStatus {
  readonly spool: { readonly fault: string | null; readonly full: boolean; readonly waitingBytes: number };
  readonly ledger: {
    readonly accepted: number;
    readonly delivered: number;
    readonly pending: number;
    readonly dropped: Readonly<Record<string, number>>;
  };
}

export interface SettingsInShort {
  readonly dataDir: string;
  /** The broker; one that is never there when left out. */
  readonly url?: string;
  readonly quota?: string;
  /** How often each of the two sensors speaks, ms. */
  readonly everyMs?: number;
}

/** A gateway with two simulated sensors that never stop. */
export function gatewayYaml({ dataDir, url, quota, everyMs = 4 }: SettingsInShort): string {
  return `
gateway: { id: line-4, profile: simulated, dataDir: ${dataDir} }
upstream: { url: "${url ?? 'mqtt://127.0.0.1:1'}", reconnect: { minSecs: 0.1, maxSecs: 0.2 } }
storeAndForward: { quota: ${quota ?? '16MiB'}, keepFree: 0%, commitEveryMs: 50 }
children:
  - { id: press-1, simulated: { sendIntervalMs: ${everyMs}, messageCount: -1 } }
  - { id: press-2, simulated: { sendIntervalMs: ${everyMs}, messageCount: -1 } }
`;
}

/** What the user sees; throws with what the command would say when it cannot answer. */
export function seenStatus(config: string): Promise<SeenStatus> {
  return asked<SeenStatus>(config, 'status');
}

/** Lines of the log at level error and above, from line `from`. */
export function errorsIn(gateway: GatewayProcess, from = 0): string[] {
  return gateway.log
    .slice(from)
    .map((line) => JSON.parse(line) as { level: number; msg: string })
    .filter(({ level }) => level >= 50)
    .map(({ msg }) => msg);
}

/**
 * Starts a gateway as systemd does, again and again (but at once), five times at the most. Resolves with the one that goes on, and how
 * those before it ended. Rejects when none does.
 */
export async function keepRunning(options: {
  readonly dir: string;
  readonly yaml: string;
}): Promise<{ readonly gateway: GatewayProcess; readonly ends: (number | NodeJS.Signals)[] }> {
  const ends: (number | NodeJS.Signals)[] = [];
  const said: string[] = [];
  for (let life = 1; life <= LIVES_MAX; life++) {
    const gateway = new GatewayProcess(options);
    const runs = await gateway.waitForLog(/"time":\d+,"msg":"running"/).then(
      () => true,
      () => false,
    );
    if (runs) await sleep(STEADY_MS);
    if (gateway.ended === null && runs) return { gateway, ends };
    await gateway.kill();
    ends.push(gateway.ended!);
    said.push(`life ${life} ended with ${gateway.ended}:`, ...gateway.messages().slice(-8), gateway.stderr);
  }
  throw new Error(`the gateway does not go on after ${LIVES_MAX} starts:\n${said.join('\n')}`);
}
