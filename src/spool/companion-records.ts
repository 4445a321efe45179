import type { Logger } from 'pino';
import type { Amendments } from './amendments.ts';
import type { KeptRecord } from './companion.ts';
import { companionKey, companionPlace, isCompanion } from './keys.ts';
import type { Medium } from './late-environment.ts';
import { pagesOf } from './pages.ts';
import { sealed } from './seal.ts';

/** See {@link Spool.companionRecords}. */
export function recordsIn(environment: Medium, amendments: Amendments, log: Logger): readonly KeptRecord[] {
  const found: KeptRecord[] = [];
  environment.read((reader) =>
    reader.scan(companionKey(0, 0), ({ key, value }) => {
      if (!isCompanion(key)) return false;
      const { kind, number } = companionPlace(key);
      if (sealed(value)) found.push({ kind, number, value: value.subarray(4) });
      else {
        log.error({ kind, number }, 'a record of the rules does not match its checksum: it is left out');
        amendments.delete(key, pagesOf(value.length, environment.pageBytes));
      }
      return true;
    }),
  );
  return found;
}
