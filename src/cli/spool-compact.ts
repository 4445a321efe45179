import { statSync } from 'node:fs';
import { compactionFailed, type Compacting } from '../health/requests.ts';
import type { Compacted } from '../spool/compaction.ts';
import { spoolFile } from '../spool/files.ts';
import { StoreError } from '../store/store-error.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { ask } from './control-client.ts';
import { bytesText, CliError, FINE, printJson, say } from './output.ts';
import { Progress } from './progress.ts';
import { gatewayRuns } from './spool-source.ts';
import { inStoppedSpool, mustHaveSpool } from './stopped-spool.ts';

/** A slow card takes its time for the next 2 MiB, and for what it is to make durable at the end, ms. */
const STEP_MS_MAX = 120_000;

/** `holdfast spool compact`: makes the spool's file as small as what is in it. */
export async function spoolCompact(options: CommonOptions): Promise<number> {
  const where = configured(options.config);
  const progress = new Progress('bytes copied');
  const copied = (bytes: number) => progress.add(bytes - progress.count);
  const running = await gatewayRuns(where);
  const { before, after } = await (running ? inRunning(where, copied) : inStopped(where, copied)).finally(() =>
    progress.end(),
  );
  if (options.json === true) printJson({ before, after });
  say(`the file had ${bytesText(before)}, and has ${bytesText(after)} now`);
  return FINE;
}

async function inRunning(where: Configured, copied: (bytes: number) => void): Promise<Compacted> {
  let last: Compacted | null = null;
  for await (const item of ask<Compacting | Compacted>(where, 'spool compact', {}, { silenceMsMax: STEP_MS_MAX })) {
    if ('copiedBytes' in item) copied(item.copiedBytes);
    else last = item;
  }
  if (last === null) throw new CliError('the gateway did not say what became of the file');
  return last;
}

async function inStopped(where: Configured, copied: (bytes: number) => void): Promise<Compacted> {
  mustHaveSpool(where);
  say('no gateway is running; it is done in its files');
  try {
    const { before } = await inStoppedSpool(where, (spool) => spool.compact(copied));
    // Closing it takes a commit, and room for that.
    return { before, after: statSync(spoolFile(where.dataDir)).size };
  } catch (error) {
    throw error instanceof StoreError ? new CliError(compactionFailed(error)) : error;
  }
}
