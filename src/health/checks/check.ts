import type { Clock } from '../../clock/clock.ts';

/** Longest that one check may take, ms. */
export const CHECK_MS_MAX = 5000;

/** `SKIP`: not judged, since what it builds on failed or is not there. */
export type Result = 'OK' | 'WARN' | 'FAIL' | 'SKIP';

/** What a check found, and what to do about it. */
export interface Finding {
  readonly result: Result;
  readonly message: string;
  readonly fix?: string;
}

/** One thing to look at. Looking changes nothing that lasts, and never disturbs a running gateway. */
export interface Check {
  /** Stable: scripts and the documentation refer to it. A part behind a colon names a child. */
  readonly id: string;
  /** What it looks at, in a few words. */
  readonly about: string;
  /** Ids of the checks that must not have failed. */
  readonly needs: readonly string[];
  /** `signal` aborts when its time is up. */
  run(signal: AbortSignal): Finding | Promise<Finding>;
}

/** A check's result as it is shown. */
export interface Report {
  readonly id: string;
  readonly result: Result;
  readonly message: string;
  readonly fix: string | null;
}

export interface Selection {
  /** Empty: all. */
  readonly only: readonly string[];
  readonly skip: readonly string[];
}

export const ok = (message: string): Finding => ({ result: 'OK', message });
export const warn = (message: string, fix: string): Finding => ({ result: 'WARN', message, fix });
export const fail = (message: string, fix: string): Finding => ({ result: 'FAIL', message, fix });
export const skip = (message: string): Finding => ({ result: 'SKIP', message });

/** Whether `name` means the check: by its id, or by what stands before the colon (`serial` means every `serial:...`). */
export function means(name: string, id: string): boolean {
  return id === name || id.startsWith(`${name}:`);
}

/**
 * Runs checks one after the other, in their order, and yields each that was selected. What a selected one needs is run as
 * well and not shown: where that fails, so has the selected one. What is skipped by name is not run, and nothing that needs it minds.
 */
export async function* runChecks(
  checks: readonly Check[],
  { only, skip: skipped }: Selection,
  clock: Clock,
): AsyncGenerator<Report, void, void> {
  const isSkipped = ({ id }: Check) => skipped.some((name) => means(name, id));
  const shown = checks.filter(
    (check) => !isSkipped(check) && (only.length === 0 || only.some((name) => means(name, check.id))),
  );
  const wanted = withNeeds(checks, shown).filter((check) => !isSkipped(check));
  const reports = new Map<string, Report>();
  /** Of what was not looked at: the check that has failed, or was left out by itself. */
  const causes = new Map<string, string>();
  for (const check of wanted) {
    const blocker = check.needs.find((id) => ['FAIL', 'SKIP'].includes(reports.get(id)?.result ?? 'OK'));
    const cause = blocker === undefined ? undefined : (causes.get(blocker) ?? blocker);
    if (cause !== undefined) causes.set(check.id, cause);
    const finding = cause === undefined ? await bounded(check, clock) : skip(`not looked at, because of ${cause}`);
    const report = { id: check.id, ...finding, fix: finding.fix ?? null };
    reports.set(check.id, report);
    if (!shown.includes(check)) continue;
    const unseen = shown.some(({ id }) => id === cause) ? undefined : reports.get(cause ?? '');
    if (unseen?.result === 'FAIL') yield { ...unseen, id: check.id, message: `${unseen.id}: ${unseen.message}` };
    else yield report;
  }
}

/** These checks and all that they build on, in the order of `checks`. */
function withNeeds(checks: readonly Check[], shown: readonly Check[]): Check[] {
  const wanted = new Set(shown.map(({ id }) => id));
  // What is needed stands before who needs it.
  for (const { id, needs } of checks.toReversed()) if (wanted.has(id)) for (const need of needs) wanted.add(need);
  return checks.filter(({ id }) => wanted.has(id));
}

async function bounded(check: Check, clock: Clock): Promise<Finding> {
  const controller = new AbortController();
  const late = new Promise<Finding>((resolve) => {
    clock.after(CHECK_MS_MAX, () => {
      resolve(fail(`no result within ${CHECK_MS_MAX / 1000} s`, `look at why ${check.about} takes so long`));
      controller.abort();
    });
  });
  try {
    return await Promise.race([Promise.resolve(check.run(controller.signal)), late]);
  } catch (error) {
    return fail(
      `could not be looked at: ${(error as Error).message}`,
      'run it again with HOLDFAST_DEBUG=1 and report this',
    );
  }
}
