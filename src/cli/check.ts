import { kernelTimeSynchronised } from '../clock/kernel-time.ts';
import { SystemClock } from '../clock/system-clock.ts';
import { controlPath } from '../config/control-path.ts';
import { ConfigError, loadConfig, type LoadedConfig } from '../config/load.ts';
import { nearest } from '../query/nearest.ts';
import { SYSFS_GPIO } from '../drivers/gpio-chip.ts';
import { userName } from '../health/checks/accounts.ts';
import { allChecks } from '../health/checks/catalogue.ts';
import { CHECK_MS_MAX, means, runChecks, type Check, type Report } from '../health/checks/check.ts';
import type { Neighbour, Scene } from '../health/checks/scene.ts';
import type { GatewayStatus } from '../health/status.ts';
import type { SpoolStats } from '../spool/stats.ts';
import type { CommonOptions } from './configured.ts';
import { askOne, NoGateway } from './control-client.ts';
import {
  CliError,
  coloured,
  FINE,
  FOUND_A_PROBLEM,
  print,
  printJson,
  say,
  table,
  USED_WRONGLY,
  type Colour,
} from './output.ts';

export interface CheckOptions extends CommonOptions {
  readonly only?: readonly string[];
  readonly skip?: readonly string[];
  readonly list?: boolean;
  readonly warningsAsErrors?: boolean;
}

const COLOURS: Readonly<Record<Report['result'], Colour>> = { OK: 'green', WARN: 'yellow', FAIL: 'red', SKIP: 'gray' };

/** What is left of a check that took too long may keep the process open for so long, ms. */
const LINGER_MS = 500;

/** `holdfast check`: looks at everything that a gateway needs; what is wrong comes with what to do about it. */
export async function check(options: CheckOptions): Promise<number> {
  const scene = await look(options.config);
  const checks = allChecks(scene);
  const { only = [], skip = [] } = options;
  for (const name of [...only, ...skip]) known(name, checks, 'config' in scene.loaded);
  if (options.list === true) {
    const listed = checks.map(({ id, about }) => ({ id, about }));
    if (options.json === true) printJson(listed);
    else
      print(
        table(
          ['ID', 'LOOKS AT WHETHER'],
          listed.map(({ id, about }) => [id, about]),
        ),
      );
    return FINE;
  }

  const asked = checks.filter(({ id }) => only.length === 0 || only.some((name) => means(name, id)));
  if (asked.length > 0 && asked.every(({ id }) => skip.some((name) => means(name, id))))
    throw new CliError('--only and --skip leave no check to look at', USED_WRONGLY);

  const reports: Report[] = [];
  const width = Math.max(...checks.map(({ id }) => id.length));
  // A check may wait for nothing that keeps the process open.
  const hold = setInterval(() => undefined, 2 ** 30);
  for await (const report of runChecks(checks, { only, skip }, scene.clock)) {
    reports.push(report);
    if (options.json !== true) show(report, width);
  }
  clearInterval(hold);
  // A name server that does not answer cannot be called off.
  setTimeout(() => process.exit(), LINGER_MS).unref();

  const count = (result: Report['result']) => reports.filter((report) => report.result === result).length;
  const bad = count('FAIL') > 0 || (options.warningsAsErrors === true && count('WARN') > 0);
  if (options.json === true) printJson({ checks: reports, ok: !bad });
  else
    say(
      `${reports.length} checks: ${(['OK', 'WARN', 'FAIL', 'SKIP'] as const).map((result) => `${count(result)} ${result}`).join(', ')}`,
    );
  return bad ? FOUND_A_PROBLEM : FINE;
}

/** What the checks look at, of the gateway that runs with `file` or does not. */
export async function look(file: string): Promise<Scene> {
  const clock = new SystemClock(kernelTimeSynchronised);
  let loaded: LoadedConfig | ConfigError;
  try {
    loaded = loadConfig(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    loaded = error;
  }
  const gateway: Neighbour =
    loaded instanceof ConfigError
      ? { is: 'absent', why: 'nobody knows where it would answer' }
      : await neighbour(file, loaded);
  return { file, loaded, clock, gateway, user: userName(process.getuid?.() ?? 0), gpioRoot: SYSFS_GPIO };
}

async function neighbour(named: string, loaded: LoadedConfig): Promise<Neighbour> {
  const { dataDir } = loaded.config.gateway;
  const where = { ...loaded, named, dataDir, socket: controlPath(dataDir) };
  const patience = { silenceMsMax: CHECK_MS_MAX };
  try {
    const status = await askOne<GatewayStatus>(where, 'status', {}, patience);
    return { is: 'running', status, spoolStats: () => askOne<SpoolStats>(where, 'spool stats', {}, patience) };
  } catch (error) {
    if (error instanceof NoGateway)
      return { is: 'absent', why: `none is running (nothing answers on ${where.socket})` };
    return { is: 'silent', why: (error as Error).message };
  }
}

/** Throws when no check has that name. `configured`: the children are known. */
function known(name: string, checks: readonly Check[], configured: boolean): void {
  if (checks.some(({ id }) => means(name, id))) return;
  // No child at a port or a line, and no hub: such a name is no slip. Nor is a child's, while nobody knows the children.
  if (/^(serial|gpio)$|^hub(-|$)/.test(name) || (!configured && /^(serial|gpio):/.test(name))) return;
  const meant = nearest(
    name,
    checks.map(({ id }) => id),
  );
  const hint = meant === undefined ? '`holdfast check --list` shows them' : `did you mean "${meant}"?`;
  throw new CliError(`there is no check "${name}"; ${hint}`, USED_WRONGLY);
}

function show({ id, result, message, fix }: Report, width: number): void {
  const [first, ...more] = message.split('\n');
  print(`${coloured(COLOURS[result], result.padEnd(4))}  ${id.padEnd(width)}  ${first}`);
  const indent = ' '.repeat(width + 8);
  for (const line of more) print(`${indent}${line}`);
  if (fix !== null) print(`${indent}-> ${fix}`);
}
