import { FILTER_BYTES_MAX, LEVELS_MAX } from './limits.ts';

export function levels(name: string): number {
  let count = 1;
  for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) count++;
  return count;
}

/** Whether a filter is one (section 4.7.1), within our limits. */
export function isFilter(filter: string): boolean {
  if (filter === '' || Buffer.byteLength(filter) > FILTER_BYTES_MAX || levels(filter) > LEVELS_MAX) return false;
  const parts = filter.split('/');
  return parts.every((part, at) => (part === '#' && at === parts.length - 1) || part === '+' || !/[+#]/.test(part));
}

/** Whether a topic is one of those that a filter names; wildcards name none that begins with `$` (section 4.7.2). */
export function matches(filter: string, topicName: string): boolean {
  if (topicName.startsWith('$') && /^[+#]/.test(filter)) return false;
  if (filter === topicName) return true;
  const wanted = filter.split('/');
  const there = topicName.split('/');
  for (let at = 0; at < wanted.length; at++) {
    if (wanted[at] === '#') return true;
    if (at >= there.length || (wanted[at] !== '+' && wanted[at] !== there[at])) return false;
  }
  return wanted.length === there.length;
}
