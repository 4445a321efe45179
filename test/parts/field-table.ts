import type { DayResult, Happening } from './field-day.ts';

const MIB = 2 ** 20;
const mib = (bytes: number) => (bytes / MIB).toFixed(1);

/** The day as often as garbage was collected, as a table in Markdown: what had happened, and what the process took up then. */
export function dayTable({ samples }: DayResult, happenings: readonly Happening[]): string {
  const rows = samples
    .filter(({ live }) => live !== null)
    .map((sample, n, all) => {
      const since = n === 0 ? 0 : all[n - 1]!.hour;
      const what = happenings.filter(({ hour }) => hour > since && hour <= sample.hour).map((each) => each.what);
      const { hour, life, rssBytes, live, files, spoolBytes, dataBytes, pending, logBytes } = sample;
      return [
        hour.toFixed(1),
        what.join('; '),
        life,
        mib(rssBytes),
        mib(live!.heapBytes),
        files,
        mib(spoolBytes),
        mib(dataBytes),
        pending,
        (logBytes / 1024).toFixed(0),
      ];
    });
  const head = [
    'hour',
    'since the row before',
    'process',
    'RSS, MiB',
    'heap, MiB',
    'open files',
    'spool, MiB',
    'all data, MiB',
    'waiting',
    'log, KiB',
  ];
  return [head, head.map((_, n) => (n === 1 ? '---' : '--:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');
}
