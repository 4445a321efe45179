import type { Clock } from '../clock/clock.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { parseDuration } from '../config/units.ts';
import { LogRing } from '../health/log-ring.ts';
import { DemoFolder } from './demo-folder.ts';
import { PlainView } from './demo-plain.ts';
import { Stage } from './demo-stage.ts';
import { TerminalView } from './demo-terminal.ts';
import { plural, secondsText } from './demo-text.ts';
import { verdictLines, verdictOf } from './demo-verdict.ts';
import { CliError, FINE, FOUND_A_PROBLEM, print, printJson, say, USED_WRONGLY } from './output.ts';

/** In the drill: online for so long before the cut, ms. */
const BEFORE_CUT_MS = 3000;
/** How long the gateway may take to find the broker, which is in the same process, ms. */
const ONLINE_MS_MAX = 10_000;
/** After the network's return, everything must have arrived by then, ms. */
const DRAINED_MS_MAX = 60_000;
/** Stopping must be done by then, ms. */
const STOP_MS_MAX = 5000;
const SENSORS_MAX = 100;
const DURATION_MS_MAX = 86_400_000;

export interface SimulateOptions {
  readonly keep?: string;
  readonly outage?: string;
  readonly for?: string;
  readonly interval: string;
  readonly sensors: string;
  readonly plain?: boolean;
  readonly json?: boolean;
}

interface Plan {
  readonly outageMs: number | null;
  readonly forMs: number | null;
  readonly intervalMs: number;
  readonly sensors: number;
  readonly live: boolean;
}

/**
 * `holdfast simulate`: sensors that are made up, a real gateway, and a broker in the same process whose network can be cut.
 * Resolves with 1 when anything was missing or out of order.
 */
export async function simulate(options: SimulateOptions): Promise<number> {
  const plan = planOf(options);
  const ended = endRequested();
  const write = options.json === true ? say : print;
  // A demonstration does not wait for time servers: the clock of the machine that shows it will do.
  const clock = new SystemClock(() => true);
  const ring = new LogRing('text', () => undefined);
  const folder = new DemoFolder(options.keep);
  process.once('exit', () => folder.remove());

  const told: { view: TerminalView | PlainView | null } = { view: null };
  const stage = await Stage.open({
    folder,
    clock,
    ring,
    sensors: plan.sensors,
    intervalMs: plan.intervalMs,
    onHappened: (text) => told.view?.happened(text),
  });
  if (plan.live) {
    const onNetwork = () => void stage.turnNetwork(stage.isCut ? 'on' : 'off');
    const keys = { onNetwork, onReset: () => void stage.reset(), onQuit: ended.request };
    told.view = new TerminalView(stage, ring, keys, folder.path);
  } else {
    write(`${plural(plan.sensors, 'simulated sensor')}, a gateway, and a broker at ${stage.brokerUrl}, in one process`);
    write(`configuration and data are in ${folder.path}${folder.kept ? '' : ' until the end (--keep DIR keeps them)'}`);
    if (plan.outageMs === null) write('--outage 10s shows what happens when the network goes');
    ring.follow(({ level, message }) => {
      if (level !== 'info') say(`gateway: ${message}`);
    });
    told.view = new PlainView(stage, write);
  }
  told.view.start();
  const why = await Promise.race([ended.requested, play(stage, plan, clock)]);

  const late = setTimeout(() => {
    say(`not stopped within ${STOP_MS_MAX / 1000} s, leaving`);
    process.exit(FOUND_A_PROBLEM);
  }, STOP_MS_MAX);
  const scene = stage.scene();
  told.view.stop();
  told.view = null;
  const remains = await stage.close();
  clearTimeout(late);
  folder.remove();
  const verdict = verdictOf(scene, remains, folder, why);
  for (const line of verdictLines(verdict)) write(line);
  if (options.json === true) printJson(verdict);
  return verdict.ok ? FINE : FOUND_A_PROBLEM;
}

/** What goes on by itself. Resolves when it is over, with what is wrong or null; never, when only the user ends it. */
async function play(stage: Stage, { outageMs, forMs, live }: Plan, clock: Clock): Promise<string | null> {
  const time = forMs === null ? null : pause(clock, forMs);
  if (outageMs !== null) {
    const wrong = await drill(stage, outageMs, clock);
    if (wrong !== null) return wrong;
  }
  if (time !== null) await time;
  else if (live || outageMs === null) await new Promise(() => undefined);
  return null;
}

/** Cuts the network for a while, and waits until all that was kept has arrived. Resolves with what is wrong, or null. */
async function drill(stage: Stage, outageMs: number, clock: Clock): Promise<string | null> {
  const patience = clock.monotonic() + ONLINE_MS_MAX;
  while (!stage.scene().network.online) {
    if (clock.monotonic() > patience) return `the gateway did not reach the broker in ${secondsText(ONLINE_MS_MAX)}`;
    await pause(clock, 20);
  }
  await pause(clock, BEFORE_CUT_MS);
  await stage.turnNetwork('off');
  await pause(clock, outageMs);
  await stage.turnNetwork('on');
  const all = await stage.caughtUp(DRAINED_MS_MAX);
  return all ? null : `what was kept had not all arrived ${secondsText(DRAINED_MS_MAX)} after the network's return`;
}

/** Does not keep the process alive: it may end before. */
function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

function planOf(options: SimulateOptions): Plan {
  const { outage, interval, sensors } = options;
  const live =
    process.stdout.isTTY && options.plain !== true && options.json !== true && process.env['TERM'] !== 'dumb';
  return {
    outageMs: outage === undefined ? null : duration('--outage', outage, 100),
    forMs: options.for === undefined ? null : duration('--for', options.for, 100),
    // A plain number is milliseconds, as in gateway.yaml.
    intervalMs: duration('--interval', /^\d+$/.test(interval) ? `${interval}ms` : interval, 1),
    sensors: count('--sensors', sensors, SENSORS_MAX),
    live,
  };
}

function duration(option: string, text: string, msMin: number): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= msMin && ms <= DURATION_MS_MAX) return ms;
  const range = `from ${msMin}ms to 1d, with its unit`;
  throw new CliError(`${option} ${JSON.stringify(text)} is not a time ${range}; write for example 10s`, USED_WRONGLY);
}

function count(option: string, text: string, max: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= max) return number;
  throw new CliError(`${option} ${JSON.stringify(text)} is not a whole number from 1 to ${max}`, USED_WRONGLY);
}

/** The user, the system or a reader that went away may end it: then `requested` resolves. A second signal ends it at once. */
function endRequested(): { readonly requested: Promise<null>; readonly request: () => void } {
  let request = () => {};
  const requested = new Promise<null>((resolve) => {
    request = () => resolve(null);
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, request);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', request);
  return { requested, request };
}
