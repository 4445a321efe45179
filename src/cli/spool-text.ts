import type { SpoolStats } from '../spool/stats.ts';

/** The ledger as the sum that it is. */
export function ledgerText({ accepted, delivered, pending, deadLetters, dropped }: SpoolStats['ledger']): string {
  const parts = [`${delivered} delivered`, `${pending} pending`, `${deadLetters} dead letters`];
  return `${accepted} accepted = ${parts.join(' + ')} + ${countsText(dropped)} dropped`;
}

/** How many, and of what: `7 (evicted 5, no-route 2)`. */
export function countsText(counts: Readonly<Record<string, number>>): string {
  const named = Object.entries(counts).filter(([, count]) => count > 0);
  const sum = named.reduce((total, [, count]) => total + count, 0);
  return named.length === 0 ? '0' : `${sum} (${named.map(([reason, count]) => `${reason} ${count}`).join(', ')})`;
}
