import { lookAtSpool } from '../spool/files.ts';
import type { Books } from '../spool/books.ts';
import type { Reader } from '../store/environment.ts';
import { StoreError } from '../store/store-error.ts';
import type { Configured } from './configured.ts';
import { NoGateway } from './control-client.ts';
import { CliError } from './output.ts';

/** The file may grow beyond what we have mapped between our opening and our reading; then it is opened anew. */
const TRIES_MAX = 5;

/** Asks the running gateway, or looks at the files when none runs. */
export async function runningOrStopped<T>(running: () => Promise<T>, stopped: () => Promise<T>): Promise<T> {
  try {
    return await running();
  } catch (error) {
    if (!(error instanceof NoGateway)) throw error;
    return stopped();
  }
}

/** Looks at the spool's files from this process, in one read transaction: also while the gateway writes to them. */
export async function fromFiles<T>(where: Configured, look: (reader: Reader, books: Books) => T): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await absentIsClear(where, () => lookAtSpool(where.dataDir, look));
    } catch (error) {
      if (tries < TRIES_MAX && (error as Error).message.includes('MDB_MAP_RESIZED')) continue;
      throw error;
    }
  }
}

/** Says what it means when there is no spool. */
export async function absentIsClear<T>({ dataDir }: Configured, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof StoreError) || error.fault !== 'absent') throw error;
    throw new CliError(`there is no spool in ${dataDir}: no gateway has run with this configuration yet`);
  }
}
