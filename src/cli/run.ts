import { fstatSync } from 'node:fs';
import { kernelTimeSynchronised, timeServiceRuns } from '../clock/kernel-time.ts';
import { SystemClock } from '../clock/system-clock.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { LogLevelWord } from '../config/settings-from-above.ts';
import { BUILT_AT, VERSION } from '../config/version.ts';
import { Gateway, type Platform } from '../gateway.ts';
import { ControlServer } from '../health/control-server.ts';
import { LogLevel } from '../health/log-level.ts';
import { LogOutlet } from '../health/log-outlet.ts';
import { LogRing, type LogFormat } from '../health/log-ring.ts';
import { Reloader } from '../health/reload.ts';
import { requests } from '../health/requests.ts';
import { StartRecord } from '../health/start-record.ts';
import { SystemdNotifier } from '../health/systemd.ts';
import { Watchdog } from '../health/watchdog.ts';
import { unwritable } from '../spool/late-environment.ts';
import { configured } from './configured.ts';
import { takeHold } from './control-place.ts';
import { FINE } from './output.ts';
import { thrift } from './thrift.ts';

/** Stopping must be done by then, ms; systemd's own limit is longer. */
const STOP_MS_MAX = 5000;
/** What a failed start has left open may keep the process for so long, ms. */
const LINGER_MS = 500;
/** The exit code of a stop that wants to be a restart: not 0, so that systemd's `Restart=on-failure` starts it again too. */
const RESTART_WANTED = 75;

export interface RunOptions {
  readonly config: string;
  readonly logLevel: LogLevelWord;
  readonly logFormat?: LogFormat;
}

/** `holdfast run`: the gateway, until it is told to stop. Resolves with the exit code. */
export async function run(options: RunOptions): Promise<number> {
  thrift();
  // Something must hold the process open: a gateway without upstream and children has nothing else that does.
  const hold = setInterval(() => undefined, 2 ** 30);
  // Whoever read our log may have gone away: that is no reason for a gateway to stop.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  try {
    return await untilStopped(options);
  } catch (error) {
    // Whoever starts it again, in safe mode at last, waits for its end.
    setTimeout(() => process.exit(), LINGER_MS).unref();
    throw error;
  } finally {
    clearInterval(hold);
  }
}

async function untilStopped(options: RunOptions): Promise<number> {
  const loaded = configured(options.config);
  const { gateway: settings } = loaded.config;
  const clock = new SystemClock(kernelTimeSynchronised, BUILT_AT);
  const format = options.logFormat ?? (toJournal() ? 'journald' : 'text');
  const outlet = new LogOutlet(process.stdout);
  const ring = new LogRing(format, (text) => outlet.write(text));
  const level = new LogLevel(options.logLevel);
  const log = ring.logger(level, clock);
  outlet.onReadAgain((count) => log.warn({ count }, 'lines of the log were left out: nobody read them'));
  const notifier = SystemdNotifier.fromEnvironment(process.env, log);

  const asked = stopRequested();
  log.info({ gateway: settings.id, profile: loaded.profile.name, dataDir: settings.dataDir }, `Holdfast ${VERSION}`);
  for (const warning of loaded.warnings) log.warn(warning);
  // The socket comes first: it is what keeps a second gateway off the same directory.
  const live: { gateway: Gateway | null } = { gateway: null };
  const askedHere = () => asked.restart('restart asked for');
  const endToBeStartedAgain = startedBySystemd(notifier) ? askedHere : null;
  const reloader = new Reloader(options.config, live, log);
  // From here on: without a listener the signal would end the process.
  process.on('SIGHUP', () => reloader.signalled());
  const reload = () => reloader.reload();
  const handlers = requests({ live, ring, reload, endToBeStartedAgain });
  const { control, fault } = await takeHold(settings.dataDir, (path) => new ControlServer(path, handlers, clock, log));
  // A clock that stands before this program was built was never set: then the network will bring somebody who does.
  const timeExpected = () => timeServiceRuns() || clock.wall() < (BUILT_AT ?? 0);
  const logs = (count: number, child?: string) => ring.tail(count, child);
  const services = { logs, level, reload, endToBeStartedAgain };
  // A loop takes somebody who starts us again.
  const starts = endToBeStartedAgain && new StartRecord(settings.dataDir, loaded.path, clock, log);
  const safeMode = starts?.begin() ?? null;
  process.on('uncaughtExceptionMonitor', (error) => {
    starts?.failed(error);
    ring.end();
  });
  if (safeMode !== null) {
    log.error(
      `safe mode: ${safeMode.why}. Sensors, rules and hub stay off, what is stored is sent; for an ordinary start: \`holdfast restart\``,
    );
  }
  const progress = () => notifier?.starting(clock.monotonic());
  const platform: Platform = { clock, timeExpected, log, random: Math.random, safeMode, ...services, progress };
  const gateway = await opened(loaded, platform, fault).catch(async (error: unknown) => {
    starts?.failed(error);
    await control.stop();
    throw error;
  });
  live.gateway = gateway;
  gateway.onDamaged((why) => asked.damaged(`the spool must be opened anew (${why.message})`));
  await gateway.start().catch((error: unknown) => {
    starts?.failed(error);
    throw error;
  });
  const watchdog = new Watchdog(gateway, notifier, clock, log);
  watchdog.start();
  notifier?.ready(safeMode === null ? 'running' : 'running in safe mode');
  log.info('running');
  reloader.started();
  starts?.runs(() => asked.restart('safe mode has lasted its time'));

  const { why, code, bad } = await asked.stop;
  log.info(`${why}: stopping`);
  notifier?.stopping();
  watchdog.stop();
  const late = setTimeout(() => {
    ring.end();
    log.error(`not stopped within ${STOP_MS_MAX / 1000} s, leaving; what was accepted is on the medium`);
    process.exit(1);
  }, STOP_MS_MAX);
  // The socket goes last: it keeps the next gateway off the directory until this one has closed it.
  live.gateway = null;
  if (bad) starts?.failed(why);
  else starts?.endedWell();
  await gateway.stop();
  await control.stop();
  clearTimeout(late);
  ring.end();
  log.info('stopped');
  return code;
}

/** Opens the gateway; from memory when `fault` says that the data directory cannot be written, or that turns out now. */
async function opened(loaded: LoadedConfig, platform: Platform, fault: Error | null): Promise<Gateway> {
  let why = fault;
  if (why === null) {
    try {
      return await Gateway.open(loaded, platform);
    } catch (error) {
      if (!unwritable(error)) throw error;
      why = error as Error;
    }
  }
  const { dataDir } = loaded.config.gateway;
  const sent = loaded.config.upstream === undefined ? '' : 'what the upstream takes is safe, ';
  platform.log.error(
    `${dataDir} cannot be written (${why.message}): the gateway runs from memory until it can be; ${sent}what waits is lost with the power`,
  );
  return Gateway.openLate(loaded, platform);
}

/** systemd.exec(5): the variable names the stream's file; a shell in a service passes it on with another standard output. */
function toJournal(): boolean {
  const { dev, ino } = fstatSync(1);
  return process.env['JOURNAL_STREAM'] === `${dev}:${ino}`;
}

/** Then it also starts us again. systemd(1) names the process it started; a shell that it started passes other variables on. */
function startedBySystemd(notifier: SystemdNotifier | null): boolean {
  return notifier !== null || process.env['SYSTEMD_EXEC_PID'] === String(process.pid);
}

interface Stop {
  readonly why: string;
  readonly code: number;
  /** Nobody wanted it. */
  readonly bad: boolean;
}

interface Requested {
  /** Resolves at a signal, or when one of the others is called. */
  readonly stop: Promise<Stop>;
  readonly restart: (why: string) => void;
  /** The same, because something is broken. */
  readonly damaged: (why: string) => void;
}

function stopRequested(): Requested {
  let resolve: (stop: Stop) => void = () => undefined;
  const stop = new Promise<Stop>((settle) => (resolve = settle));
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => resolve({ why: signal, code: FINE, bad: false }));
  return {
    stop,
    restart: (why) => resolve({ why, code: RESTART_WANTED, bad: false }),
    damaged: (why) => resolve({ why, code: RESTART_WANTED, bad: true }),
  };
}
