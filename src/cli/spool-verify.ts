import { verify, type Verification } from '../spool/inspection.ts';
import { StoreError } from '../store/store-error.ts';
import { configured, type CommonOptions } from './configured.ts';
import { askOne, NoGateway } from './control-client.ts';
import { FINE, FOUND_A_PROBLEM, print, printJson } from './output.ts';
import { fromFiles } from './spool-source.ts';

/** A large spool on a slow card takes minutes. */
const VERIFY_MS_MAX = 600_000;

/**
 * `holdfast spool verify`: every block against its checksum and against the books. Read from the files by this process even
 * when a gateway runs, so that the gateway need not stand still for it; asks the gateway only where this user may not read.
 */
export async function spoolVerify(options: CommonOptions): Promise<number> {
  const where = configured(options.config);
  let found: Verification;
  try {
    found = await fromFiles(where, verify);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    found = await askOne<Verification>(where, 'spool verify', {}, { silenceMsMax: VERIFY_MS_MAX }).catch((asking) => {
      if (!(asking instanceof NoGateway)) throw asking;
      return { blocks: 0, messages: 0, deadLetters: 0, problems: [error.message], problemCount: 1 };
    });
  }
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
