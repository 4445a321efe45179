import { configured } from '../../src/cli/configured.ts';
import { askOne } from '../../src/cli/control-client.ts';

/**
 * What `holdfast REQUEST --json` prints of a gateway that runs, asked on its socket as the command does but without a process
 * for each question: for what is asked again and again.
 */
export async function asked<T>(config: string, request: 'status' | 'spool stats'): Promise<T> {
  return askOne<T>(configured(config), request);
}
