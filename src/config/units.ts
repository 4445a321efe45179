/**
 * Times and sizes as people write them. Pure text to number and back; the schema says where which is allowed.
 * Times are whole milliseconds, sizes whole bytes.
 */

const MS_PER = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
/** `KB` and its kin count in thousands, `KiB` and its kin in 1024s (IEC 80000-13). */
const BYTES_PER = {
  TiB: 1024 ** 4,
  GiB: 1024 ** 3,
  MiB: 1024 ** 2,
  KiB: 1024,
  TB: 1000 ** 4,
  GB: 1000 ** 3,
  MB: 1000 ** 2,
  KB: 1000,
  kB: 1000,
  B: 1,
} as const;
const BINARY_UNITS = ['TiB', 'GiB', 'MiB', 'KiB', 'B'] as const;

/** The same rules as regular expressions, for the JSON Schema. */
export const DURATION_PATTERN = '^[0-9]+(\\.[0-9]+)? ?(ms|s|m|h|d)$';
export const SIZE_PATTERN = '^[0-9]+(\\.[0-9]+)? ?(B|[kKMGT]B|[KMGT]iB)$';
export const PERCENT_PATTERN = '^[0-9]+(\\.[0-9]+)? ?%$';

const DURATION = new RegExp(DURATION_PATTERN);
const SIZE = new RegExp(SIZE_PATTERN);
const PERCENT = new RegExp(PERCENT_PATTERN);

/** `250ms`, `5s`, `1.5m`, `1h`, `7d` to milliseconds; undefined when it is no time or no whole number of milliseconds. */
export function parseDuration(text: string): number | undefined {
  const unit = DURATION.exec(text)?.[2];
  if (unit === undefined) return undefined;
  const ms = Number.parseFloat(text) * MS_PER[unit as keyof typeof MS_PER];
  const whole = Math.round(ms);
  // 1.1s is 1100.0000000000002 in binary: that is rounding, 0.5ms is not.
  return Math.abs(ms - whole) < 1e-6 && Number.isSafeInteger(whole) ? whole : undefined;
}

/** Milliseconds as the shortest exact text: 7200000 is `2h`. */
export function formatDuration(ms: number): string {
  for (const [unit, per] of Object.entries(MS_PER)) {
    if (ms >= per && ms % per === 0) return `${ms / per}${unit}`;
  }
  return `${ms}ms`;
}

/** `512MiB`, `1.5GiB`, `100MB`, `12B` to bytes, a fraction of a byte cut off; undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const unit = SIZE.exec(text)?.[2];
  if (unit === undefined) return undefined;
  const bytes = Math.floor(Number.parseFloat(text) * BYTES_PER[unit as keyof typeof BYTES_PER]);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes as the shortest exact text in binary units: 536870912 is `512MiB`. */
export function formatSize(bytes: number): string {
  for (const unit of BINARY_UNITS) {
    if (bytes >= BYTES_PER[unit] && bytes % BYTES_PER[unit] === 0) return `${bytes / BYTES_PER[unit]}${unit}`;
  }
  return `${bytes}B`;
}

/** `10%` to 10; undefined when it is no percentage from 0 to 100. */
export function parsePercent(text: string): number | undefined {
  if (!PERCENT.test(text)) return undefined;
  const percent = Number.parseFloat(text);
  return percent <= 100 ? percent : undefined;
}
