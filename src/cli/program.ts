import { Command, CommanderError, Option } from 'commander';
import { VERSION } from '../config/version.ts';
import { FOUND_A_PROBLEM, say, USED_WRONGLY } from './output.ts';

/** Where a gateway's configuration is when nothing else is said. */
export const DEFAULT_CONFIG = '/etc/holdfast/gateway.yaml';

/** Runs one command line; resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  const done = (result: number | void) => {
    code = result ?? 0;
  };
  const program = new Command('holdfast')
    .description(
      'Offline-first gateway: sensors in, a durable spool in the middle, MQTT upstream when there is a network.',
    )
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError('(add --help for what there is)');
  const config = () =>
    new Option('-c, --config <file>', 'the configuration').default(DEFAULT_CONFIG).env('HOLDFAST_CONFIG');

  program
    .command('run')
    .description('run the gateway until it is told to stop')
    .addOption(config())
    .addOption(new Option('--log-level <level>').choices(['trace', 'debug', 'info', 'warn', 'error']).default('info'))
    .addOption(new Option('--log-format <format>').choices(['text', 'json', 'journald']))
    // Each command is imported when it is used: `run` on a small board must not pay for the others.
    .action(async (options) => done(await (await import('./run.ts')).run(options)));

  program
    .command('simulate')
    .description('see it work: made-up sensors, a gateway, and a broker whose network you can cut')
    .option('--outage <time>', 'cut the network for so long, then judge what arrived')
    .option('--for <time>', 'end after so long')
    .option('--interval <time>', 'time between the readings of a sensor', '500ms')
    .option('--sensors <number>', 'how many sensors', '1')
    .option('--keep <folder>', 'keep the data there, and go on from it the next time')
    .option('--plain', 'plain lines in place of the live view')
    .option('--json', 'the verdict as JSON on standard output, all else on standard error')
    .action(async (options) => done(await (await import('./simulate.ts')).simulate(options)));

  try {
    await program.parseAsync([...argv]);
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USED_WRONGLY;
    say(`holdfast: ${(error as Error).message}`);
    return (error as { code?: unknown }).code === USED_WRONGLY ? USED_WRONGLY : FOUND_A_PROBLEM;
  }
}
