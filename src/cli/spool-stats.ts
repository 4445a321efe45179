import { statsFromFiles } from '../spool/files.ts';
import { Quota } from '../spool/quota.ts';
import type { AccountStats, SpoolStats } from '../spool/stats.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { askOne } from './control-client.ts';
import { bytesText, FINE, FOUND_A_PROBLEM, print, printJson, say, spanText, table } from './output.ts';
import { fromFiles, runningOrStopped, type Answer } from './spool-source.ts';
import { countsText, ledgerText, wearText } from './spool-text.ts';

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

function show({ epoch, ledger, lanes, file, wear, children }: SpoolStats): void {
  print(`epoch   ${epoch}`);
  print(`ledger  ${ledgerText(ledger)}`);
  print(
    `        ${ledger.unmatched} of the delivered had no subscriber; ${countsText(ledger.refused)} refused at the door`,
  );
  const shrink = file.shrinkPending ? '; it shrinks to the quota when it is empty' : '';
  print(
    `file    ${bytesText(file.bytes)} of ${bytesText(file.quotaBytes)}; pages: ${file.livePages} live, ${file.freePages} free${shrink}`,
  );
  if (wear.measured || wear.bytesPerDay > 0) print(`wear    ${wearText(wear)}`);
  if (lanes.length > 0) {
    const head = ['LANE', ...ACCOUNT_HEAD, 'FIRST SEQ', 'NEXT SEQ', 'OLDEST WAITS'];
    const rows = lanes.map(({ lane, firstSeq, nextSeq, oldestAgeSecs, ...account }) => [
      String(lane),
      ...accountCells(account),
      account.pending === 0 ? '' : String(firstSeq),
      String(nextSeq),
      oldestAgeSecs === null ? '' : spanText(oldestAgeSecs),
    ]);
    print(`\n${table(head, rows)}`);
  }
  const accounts = Object.entries(children);
  if (accounts.length > 0) {
    const rows = accounts.map(([child, account]) => [child, ...accountCells(account)]);
    print(`\n${table(['CHILD', ...ACCOUNT_HEAD], rows)}`);
  }
}

const ACCOUNT_HEAD = ['ACCEPTED', 'DELIVERED', 'PENDING', 'DEAD LETTERS', 'DROPPED'];

function accountCells({ accepted, delivered, pending, deadLetters, dropped }: AccountStats): string[] {
  return [...[accepted, delivered, pending, deadLetters].map(String), countsText(dropped)];
}

/** What the running gateway would compute: a percentage is of the filesystem. */
function quotaBytes({ dataDir: directory, config }: Configured): number {
  const { quota, keepFree } = config.storeAndForward;
  return new Quota(directory, '', { quota, keepFree }).bytes;
}
