import { mkdirSync } from 'node:fs';
import { kernelTimeSynchronised } from '../clock/kernel-time.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { controlPath } from '../config/control-path.ts';
import { loadConfig } from '../config/load.ts';
import { Gateway } from '../gateway.ts';
import { ControlServer } from '../health/control-server.ts';
import { LogRing, type LogFormat } from '../health/log-ring.ts';
import { requests } from '../health/requests.ts';
import { SystemdNotifier } from '../health/systemd.ts';
import { Watchdog } from '../health/watchdog.ts';
import { VERSION } from '../config/version.ts';
import { CliError } from './output.ts';

/** Stopping must be done by then, ms; systemd's own limit is longer. */
const STOP_MS_MAX = 5000;

export interface RunOptions {
  readonly config: string;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat?: LogFormat;
}

/** `holdfast run`: the gateway, until it is told to stop. Resolves with the exit code. */
export async function run(options: RunOptions): Promise<number> {
  const loaded = loadConfig(options.config);
  const { gateway: settings } = loaded.config;
  const clock = new SystemClock(kernelTimeSynchronised);
  const format = options.logFormat ?? (process.env['JOURNAL_STREAM'] === undefined ? 'text' : 'journald');
  const ring = new LogRing(format, (text) => process.stdout.write(text));
  const log = ring.logger(options.logLevel, clock);
  const notifier = SystemdNotifier.fromEnvironment(process.env, log);

  const stopped = stopRequested();
  log.info({ gateway: settings.id, profile: loaded.profile.name, dataDir: settings.dataDir }, `Holdfast ${VERSION}`);
  for (const warning of loaded.warnings) log.warn(warning);
  try {
    mkdirSync(settings.dataDir, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw new CliError(`cannot make gateway.dataDir: ${(error as Error).message}`);
  }
  // The socket comes first: it is what keeps a second gateway off the same directory.
  const live: { gateway: Gateway | null } = { gateway: null };
  const control = new ControlServer(controlPath(settings.dataDir), requests(live, ring), log);
  await control.start().catch((error: unknown) => {
    throw new CliError((error as Error).message);
  });
  const gateway = await Gateway.open(loaded, { clock, log, random: Math.random }).catch(async (error: unknown) => {
    await control.stop();
    throw error;
  });
  live.gateway = gateway;
  await gateway.start();
  const watchdog = new Watchdog(gateway, notifier, clock, log);
  watchdog.start();
  notifier?.ready('running');
  log.info('running');

  const why = await stopped;
  log.info(`${why}: stopping`);
  notifier?.stopping();
  watchdog.stop();
  const late = setTimeout(() => {
    log.error(`not stopped within ${STOP_MS_MAX / 1000} s, leaving; what was accepted is on the medium`);
    process.exit(1);
  }, STOP_MS_MAX);
  await control.stop();
  await gateway.stop();
  clearTimeout(late);
  log.info('stopped');
  return 0;
}

function stopRequested(): Promise<string> {
  // Something must hold the process open until then: a gateway without upstream and children has nothing else that does.
  const hold = setInterval(() => undefined, 2 ** 30);
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        clearInterval(hold);
        resolve(signal);
      });
    }
  });
}
