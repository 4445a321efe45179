/**
 * A process under systemd, for systemd-notify.test.ts: makes the calls that its argument names, a JSON list of
 * `[method, ...arguments]`, and prints what there was to see.
 */
import type { Logger } from 'pino';
import { SystemdNotifier } from '../src/health/systemd.ts';

const log: unknown[] = [];
const write =
  (level: string) =>
  (fields: { code?: string; err?: Error }, text: string): void => {
    log.push([level, fields.code ?? fields.err?.message, text]);
  };
// A watchdog for this very process, whose pid the parent cannot know beforehand.
if (process.env['WATCHDOG_PID'] === 'self') process.env['WATCHDOG_PID'] = String(process.pid);

const logger = { error: write('error'), warn: write('warn') } as unknown as Logger;
const notifier = SystemdNotifier.fromEnvironment(process.env, logger);
const calls = JSON.parse(process.argv[2] ?? '[]') as [
  'starting' | 'ready' | 'status' | 'stopping' | 'watchdog',
  string,
][];
for (const [method, text] of calls) {
  if (method === 'starting') notifier?.starting(performance.now());
  else notifier?.[method](text);
}

process.stdout.write(
  JSON.stringify({
    notifier: notifier !== null,
    watchdogIntervalMs: notifier?.watchdogIntervalMs ?? null,
    environment: Object.keys(process.env).filter((name) => /^(NOTIFY|WATCHDOG)_/.test(name)),
    koffi: JSON.stringify(process.report?.getReport()).includes('koffi.node'),
    log,
  }),
);
