import type { Pinned } from '../spool/files.ts';
import type { Whereabouts } from './configured.ts';
import { ask } from './control-client.ts';
import { CliError } from './output.ts';

/** Has the gateway that runs hold its newest commit while this process looks at the file. */
export function pinnedBy(where: Whereabouts): Pinned {
  return async (look) => {
    const held = ask(where, 'spool pin');
    try {
      const { done } = await held.next();
      if (done === true) throw new CliError('the gateway does not hold its spool still: it is stopping');
      return look();
    } finally {
      await held.return();
    }
  };
}
