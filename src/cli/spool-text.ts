import type { Peeked } from '../health/shown.ts';
import type { SpoolStats } from '../spool/stats.ts';
import { bytesText, coloured, printable, spanText } from './output.ts';

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

/** A stored message on one line. */
export function storedLine({ lane, epoch, seq, acceptedAt, child, module, output, body }: Peeked): string {
  const source = [child, module, output].filter((part) => part !== null).join('/');
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return `${acceptedAt}  lane ${lane}  epoch ${epoch}  seq ${seq}  ${source}  ${printable(text)}`;
}

/** What is written to the medium, and whether that is within the budget. */
export function wearText({ bytesPerDay, bytesPerPayloadByte, measured, budget }: SpoolStats['wear']): string {
  const each = bytesPerPayloadByte === 0 ? '' : `, ${bytesPerPayloadByte.toFixed(1)} bytes for each byte of message`;
  const figures = `${bytesText(bytesPerDay)} a day to the medium${each} (${measured ? 'measured' : 'estimated'})`;
  if (budget === null) return figures;
  const { bytesPerDay: most, commitEveryMs, kept } = budget;
  const verdict = kept ? 'kept' : coloured('yellow', 'not kept: acknowledgements cost more');
  return `${figures}; budget ${bytesText(most)} a day, ${verdict}, a commit each ${spanTextMs(commitEveryMs)}`;
}

function spanTextMs(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : spanText(ms / 1000);
}
