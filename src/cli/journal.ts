import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { LogLine } from '../health/log-ring.ts';
import { CliError } from './output.ts';

/** The unit whose journal it is. */
const UNIT = 'holdfast.service';

/** syslog(3)'s numbers. */
const LEVELS: readonly LogLine['level'][] = ['fatal', 'fatal', 'fatal', 'error', 'warn', 'info', 'info', 'debug'];

export interface JournalOptions {
  readonly child?: string;
  readonly follow?: boolean;
  /** The last so many. */
  readonly tail?: number;
  readonly signal?: AbortSignal;
}

/** What systemd's journal has of the gateway, also of lives before this one. Throws a CliError where there is no journal. */
export async function* journal({ child, follow, tail, signal }: JournalOptions): AsyncGenerator<LogLine, void, void> {
  const args = ['--unit', UNIT, '--output', 'json', '--quiet', '--no-pager'];
  if (follow === true) args.push('--follow');
  // A child's lines are picked here, so that their number is not the journal's.
  if (tail !== undefined && child === undefined) args.push('--lines', String(tail));
  const process = spawn('journalctl', args, { stdio: ['ignore', 'pipe', 'pipe'], ...(signal && { signal }) });
  let complaint = '';
  process.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const ended = new Promise<number | Error>((resolve) => {
    process.once('error', resolve);
    process.once('close', (code) => resolve(code ?? 0));
  });
  const kept: LogLine[] = [];
  const held = child !== undefined && tail !== undefined && follow !== true;
  for await (const text of createInterface({ input: process.stdout })) {
    const line = journalLine(text);
    if (line === null || (child !== undefined && line.child !== child)) continue;
    if (!held) yield line;
    else if (kept.push(line) > tail) kept.shift();
  }
  yield* kept;
  const end = await ended;
  if (signal?.aborted === true || end === 0) return;
  const why = end instanceof Error ? `journalctl cannot be run (${end.message})` : complaint.trim();
  throw new CliError(`the journal cannot be read: ${why}`);
}

/** An entry as `journalctl --output json` gives it (systemd.journal-fields(7)); null for one that is not a line of ours. */
export function journalLine(json: string): LogLine | null {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(json) as Record<string, unknown>;
  } catch {
    return null;
  }
  const { MESSAGE: message, PRIORITY: priority, __REALTIME_TIMESTAMP: micros } = entry;
  // What is not UTF-8 comes as its bytes.
  const text = Array.isArray(message) ? Buffer.from(message as number[]).toString('utf8') : message;
  if (typeof text !== 'string') return null;
  const [, child, rest] = /^\[([A-Za-z0-9._-]+)\] (.*)$/s.exec(text) ?? [];
  return {
    time: Math.floor(Number(micros) / 1000),
    level: LEVELS[Number(priority)] ?? 'info',
    ...(child !== undefined && { child }),
    message: rest ?? text,
    fields: {},
  };
}
