import { spoolFile, SpoolFiles } from '../spool/files.ts';
import { verifyFiles, verifyStopped, type Verification } from '../spool/inspection.ts';
import { Complaints } from '../store/complaints.ts';
import { StoreError } from '../store/store-error.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { askOne } from './control-client.ts';
import { FINE, FOUND_A_PROBLEM, print, printJson } from './output.ts';
import { pinnedBy } from './pinned.ts';
import { absentIsClear, gatewayRuns } from './spool-source.ts';

/** A large spool on a slow card takes minutes. */
const VERIFY_MS_MAX = 600_000;

/**
 * `holdfast spool verify`: all pages, every block against its checksum, and both against the books. Read from the file by
 * this process even when a gateway runs, which holds a commit for it meanwhile and goes on; asks the gateway only where this
 * user may not read.
 */
export async function spoolVerify(options: CommonOptions): Promise<number> {
  const where = configured(options.config);
  const found = (await gatewayRuns(where)) ? await running(where) : await stopped(where);
  const { blocks, messages, deadLetters, problems, problemCount } = found;
  const ok = problemCount === 0;
  if (options.json === true) printJson({ ok, ...found });
  else {
    for (const problem of problems) print(problem);
    if (problemCount > problems.length) print(`and ${problemCount - problems.length} more`);
    const what = `${blocks} blocks, ${messages} messages pending, ${deadLetters} dead letters`;
    print(ok ? `sound: ${what}` : `not sound: ${problemCount} problems; ${what}`);
  }
  return ok ? FINE : FOUND_A_PROBLEM;
}

async function running(where: Configured): Promise<Verification> {
  const complaints = new Complaints();
  let files: SpoolFiles;
  try {
    files = await SpoolFiles.running(where.dataDir, pinnedBy(where), (error) => complaints.add(error.message));
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return askOne<Verification>(where, 'spool verify', {}, { silenceMsMax: VERIFY_MS_MAX });
  }
  try {
    return await verifyFiles(files, complaints, () => performance.now());
  } finally {
    files.close();
  }
}

async function stopped(where: Configured): Promise<Verification> {
  const path = spoolFile(where.dataDir);
  const found = await absentIsClear(where, () => verifyStopped(path, () => performance.now()));
  // What was read while a gateway started may fit nothing.
  return found.problemCount > 0 && (await gatewayRuns(where)) ? running(where) : found;
}
