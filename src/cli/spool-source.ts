import { statSync } from 'node:fs';
import { spoolFile } from '../spool/files.ts';
import { Complaints } from '../store/complaints.ts';
import { StoreError } from '../store/store-error.ts';
import type { Configured } from './configured.ts';
import { askOne, NoGateway } from './control-client.ts';
import { CliError, printable, say } from './output.ts';

const AFRESH = 'At its next start the gateway begins afresh';

/** Asks the running gateway, or looks at the files when none runs. */
export async function runningOrStopped<T>(running: () => Promise<T>, stopped: () => Promise<T>): Promise<T> {
  try {
    return await running();
  } catch (error) {
    if (!(error instanceof NoGateway)) throw error;
    return stopped();
  }
}

/** Whether a gateway answers. One that is starting or stopping has the spool open all the same. */
export function gatewayRuns(where: Configured): Promise<boolean> {
  return runningOrStopped(
    async () => {
      await askOne(where, 'status').catch((error: unknown) => {
        if (error instanceof NoGateway) throw error;
      });
      return true;
    },
    () => Promise.resolve(false),
  );
}

/** What was asked for, and whether it is all that there is. */
export interface Answer<T> {
  readonly found: T;
  readonly whole: boolean;
}

/** Looks at the files of a stopped gateway as far as they can be read, and says what cannot. */
export async function fromFiles<T>(
  where: Configured,
  look: (complain: (error: StoreError) => void) => Promise<T>,
): Promise<Answer<T>> {
  const complaints = new Complaints();
  const complain = (error: StoreError) => complaints.add(error.message);
  const found = await absentIsClear(where, () => look(complain)).catch((error: unknown) => {
    throw damagedIsClear(error, complaints);
  });
  for (const complaint of complaints.listed) say(printable(complaint));
  return { found, whole: complaints.count === 0 };
}

/** Says what it means when there is no spool. */
export async function absentIsClear<T>({ dataDir }: Configured, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof StoreError) || error.fault !== 'absent') throw error;
    const file = spoolFile(dataDir);
    if (statSync(file, { throwIfNoEntry: false })?.size === 0) {
      throw new CliError(`${file} is empty: it was cut short, or the gateway was stopped as it made it. ${AFRESH}`);
    }
    throw new CliError(`there is no spool in ${dataDir}: no gateway has run with this configuration yet`);
  }
}

/** Where not even the books can be read: what was complained of before is why. */
function damagedIsClear(error: unknown, complaints: Complaints): unknown {
  if (!(error instanceof StoreError) || error.fault !== 'damaged') return error;
  const why = complaints.listed[0] ?? error.message;
  return new CliError(
    `the spool cannot be used: ${printable(why)}. \`holdfast spool verify\` says what is wrong with it, ` +
      `\`holdfast spool export\` saves what can still be read. ${AFRESH}, and sets this file aside`,
  );
}
