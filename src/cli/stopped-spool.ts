import { existsSync } from 'node:fs';
import { Settings } from '../above/settings.ts';
import { spoolFile } from '../spool/files.ts';
import { openSpool } from '../spool/opening.ts';
import type { Spool } from '../spool/spool.ts';
import { State } from '../store/state.ts';
import type { Configured } from './configured.ts';
import { CliError } from './output.ts';
import { whileStopped } from './stopped-gateway.ts';

/** Opens the spool of a gateway that does not run, works in it, and keeps one from starting meanwhile. */
export async function inStoppedSpool<T>(where: Configured, work: (spool: Spool) => Promise<T>): Promise<T> {
  const { dataDir } = where;
  if (!existsSync(dataDir)) throw new CliError(noSpoolText(dataDir));
  return whileStopped(where, async ({ clock, log }) => {
    const state = new State(`${dataDir}/state`);
    try {
      // With the quota that the gateway has: what is more than that would be let go.
      const { storeAndForward } = new Settings({ base: where, keep: state, log }).laid.config;
      const spool = await openSpool({ dataDir, prefill: false, ...storeAndForward }, state, clock, log);
      try {
        return await work(spool);
      } finally {
        await spool.close();
      }
    } finally {
      await state.close();
    }
  });
}

/** For work that makes no sense without a spool. Throws when there is none. */
export function mustHaveSpool({ dataDir }: Configured): void {
  if (!existsSync(spoolFile(dataDir))) throw new CliError(noSpoolText(dataDir));
}

function noSpoolText(dataDir: string): string {
  return `there is no spool in ${dataDir}: no gateway has run with this configuration yet`;
}
