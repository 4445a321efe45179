import { statsFromFiles } from '../spool/files.ts';
import { Quota } from '../spool/quota.ts';
import type { SpoolStats } from '../spool/stats.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { askOne } from './control-client.ts';
import { bytesText, FINE, FOUND_A_PROBLEM, print, printJson, say, spanText, table } from './output.ts';
import { fromFiles, runningOrStopped, type Answer } from './spool-source.ts';
import { countsText, ledgerText } from './spool-text.ts';

/** `holdfast spool stats`: the ledger and what waits, of a running gateway or a stopped one. */
export async function spoolStats(options: CommonOptions): Promise<number> {
  const where = configured(options.config);
  const { found, whole } = await runningOrStopped(
    async (): Promise<Answer<SpoolStats>> => ({ found: await askOne(where, 'spool stats'), whole: true }),
    () => {
      say('no gateway is running; this is what its files say');
      return fromFiles(where, (complain) => statsFromFiles(where.dataDir, quotaBytes(where), complain));
    },
  );
  if (options.json === true) printJson(found);
  else show(found);
  return whole ? FINE : FOUND_A_PROBLEM;
}

function show({ epoch, ledger, lanes, file, wear }: SpoolStats): void {
  print(`epoch   ${epoch}`);
  print(`ledger  ${ledgerText(ledger)}`);
  print(
    `        ${ledger.unmatched} of the delivered had no subscriber; ${countsText(ledger.refused)} refused at the door`,
  );
  print(
    `file    ${bytesText(file.bytes)} of ${bytesText(file.quotaBytes)}; pages: ${file.livePages} live, ${file.freePages} free`,
  );
  if (wear.measured) {
    print(
      `wear    ${bytesText(wear.bytesPerDay)} a day, ${wear.bytesPerPayloadByte.toFixed(1)} bytes for each byte of message`,
    );
  }
  if (lanes.length === 0) return;
  const rows = lanes.map(({ lane, pending, firstSeq, nextSeq, oldestAgeSecs }) => [
    String(lane),
    String(pending),
    pending === 0 ? '' : String(firstSeq),
    String(nextSeq),
    oldestAgeSecs === null ? '' : spanText(oldestAgeSecs),
  ]);
  print('');
  print(table(['LANE', 'PENDING', 'FIRST SEQ', 'NEXT SEQ', 'OLDEST WAITS'], rows));
}

/** What the running gateway would compute: a percentage is of the filesystem. */
function quotaBytes({ dataDir: directory, config }: Configured): number {
  const { quota, keepFree } = config.storeAndForward;
  return new Quota(directory, '', { quota, keepFree }).bytes;
}
