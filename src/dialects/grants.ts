import type { Speaker } from './child-dialect.ts';
import { PREFIX } from './holdfast.ts';
import { covers, isFilter } from './topic-filter.ts';

/**
 * Whether a child may invoke methods of another one. A child and its modules are one device: among them it needs no grant. A
 * grant for a child is one for its modules, too.
 */
export function mayInvoke(speaker: Speaker, child: string, module: string | null): boolean {
  if (child === speaker.child && module !== speaker.module) return true;
  const { invoke } = speaker.grants;
  return invoke.includes(child) || (module !== null && invoke.includes(`${child}/${module}`));
}

export function maySend(speaker: Speaker, child: string): boolean {
  return speaker.grants.send.includes(child);
}

/** Whether a child may watch all that `filter` takes. `#` is everything that the gateway lets anybody watch. */
export function mayObserve(speaker: Speaker, gateway: string, filter: string): boolean {
  if (!isFilter(filter)) return false;
  return speaker.grants.observe.some((grant) =>
    covers(grant === '#' || grant.startsWith(`${PREFIX}/`) ? grant : `${PREFIX}/${gateway}/${grant}`, filter),
  );
}
