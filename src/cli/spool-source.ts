import { lookAtSpool } from '../spool/files.ts';
import type { Books } from '../spool/books.ts';
import type { Reader } from '../store/environment.ts';
import { StoreError } from '../store/store-error.ts';
import type { Configured } from './configured.ts';
import { askOne, NoGateway } from './control-client.ts';
import { CliError } from './output.ts';

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

/** Looks at the spool's files of a stopped gateway. */
export function fromFiles<T>(where: Configured, look: (reader: Reader, books: Books) => T): Promise<T> {
  return absentIsClear(where, () => lookAtSpool(where.dataDir, look));
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
