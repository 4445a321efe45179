/*
 * Topics and topic filters, as MQTT has them (MQTT 3.1.1, section 4.7).
 */

/** Whether each topic that `filter` takes is also taken by `wide`. */
export function covers(wide: string, filter: string): boolean {
  const levels = filter.split('/');
  const wideLevels = wide.split('/');
  // A wildcard at the beginning does not stand for topics that begin with $.
  if (filter.startsWith('$') && (wideLevels[0] === '#' || wideLevels[0] === '+')) return false;
  for (const [at, level] of wideLevels.entries()) {
    if (level === '#') return true;
    const other = levels[at];
    if (other === undefined || other === '#') return false;
    if (level !== other && level !== '+') return false;
  }
  return levels.length === wideLevels.length;
}

/** Whether wildcards stand where they may. */
export function isFilter(filter: string): boolean {
  const levels = filter.split('/');
  return (
    filter !== '' &&
    !filter.includes('\0') &&
    levels.every(
      (level, at) =>
        level === '+' || (level === '#' && at === levels.length - 1) || (!level.includes('#') && !level.includes('+')),
    )
  );
}

/** The name of a child, a module, a method, an output or an input, as a level of a topic: as the configuration allows it. */
export function isName(level: string | undefined): level is string {
  return level !== undefined && /^[A-Za-z0-9._-]{1,128}$/.test(level);
}
