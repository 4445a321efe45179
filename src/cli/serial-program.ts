import { InvalidArgumentError, Option, type Command } from 'commander';
import { config, count, examples, json } from './options.ts';
import type { Does } from './spool-program.ts';

/** Highest address of a Modbus device. */
const UNIT_MAX = 247;

/** `17`, `1-247` or several with commas. */
function unitList(text: string): number[] {
  const units = text.split(',').flatMap((part) => {
    const [, from, to = from] = /^(\d{1,3})(?:-(\d{1,3}))?$/.exec(part) ?? [];
    const first = Number(from);
    const last = Number(to);
    if (!(first >= 1 && last <= UNIT_MAX && first <= last)) {
      throw new InvalidArgumentError('It must be units from 1 to 247, such as 17, 1-32 or 1,5,20-30.');
    }
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
  return [...new Set(units)];
}

/** `holdfast serial ...`. */
export function addSerialCommands(program: Command, does: Does): void {
  program
    .command('serial')
    .description('serial ports')
    .command('probe')
    .description('the ports of this machine; or what is on one of them: its speed, what comes, Modbus devices')
    .argument('[port]', 'a path, or a name from the profile')
    .addOption(config())
    .addOption(json())
    .addOption(new Option('--baud <rate>', 'at this speed only').argParser(count(50, 4_000_000)))
    .addOption(new Option('--parity <parity>', 'with this parity only').choices(['none', 'even', 'odd']))
    .addOption(new Option('--listen <secs>', 'how long at each speed').argParser(count(1, 3600)).default(3))
    .addOption(new Option('--modbus <units>', 'ask these Modbus units, such as 1-247').argParser(unitList))
    .addOption(
      new Option('--timeout <ms>', 'with --modbus: wait so long for an answer')
        .argParser(count(10, 10_000))
        .default(200),
    )
    .addHelpText(
      'after',
      examples(
        'holdfast serial probe',
        'holdfast serial probe /dev/ttyUSB0',
        'holdfast serial probe rs485 --modbus 1-247 --baud 9600',
      ),
    )
    .action(does(async (port, options) => (await import('./serial-probe.ts')).serialProbe(port, options)));
}
