import { Option, type Command } from 'commander';
import { config, count, examples, json } from './options.ts';
import type { OrderOptions } from './spool-dead-letters.ts';

/** Runs a command in the way of {@link main}. */
export type Does = <Args extends unknown[]>(
  command: (...args: Args) => Promise<number>,
) => (...args: Args) => Promise<void>;

/** `holdfast spool ...`. */
export function addSpoolCommands(program: Command, does: Does): void {
  const spool = program.command('spool').description('look into the durable queue');
  spool
    .command('stats')
    .description('the ledger, the lanes and the file')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast spool stats --json'))
    .action(does(async (options) => (await import('./spool-stats.ts')).spoolStats(options)));
  spool
    .command('peek')
    .description('the messages that wait, oldest first; none is taken out')
    .addOption(config())
    .addOption(json())
    .addOption(new Option('-n, --number <count>', 'so many').argParser(count(1, 1000)).default(10))
    .addOption(new Option('--lane <lane>', 'of this lane only, 0 to 10').argParser(count(0, 10)))
    .addHelpText('after', examples('holdfast spool peek -n 3'))
    .action(does(async (options) => (await import('./spool-peek.ts')).spoolPeek(options)));
  spool
    .command('verify')
    .description('read every page and every block, and hold them against the books')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast spool verify'))
    .action(does(async (options) => (await import('./spool-verify.ts')).spoolVerify(options)));

  spool
    .command('export')
    .description('write every message that waits, oldest first; none is taken out')
    .addOption(config())
    .addOption(
      new Option('--format <format>', 'one JSON text a line, or a table').choices(['jsonl', 'csv']).default('jsonl'),
    )
    .addOption(new Option('--lane <lane>', 'of this lane only, 0 to 10').argParser(count(0, 10)))
    .option('--child <id>', 'of this child only')
    .option('--quarantine', 'of the spool that was set aside, as far as it can be read')
    .option('--dead-letters', 'the dead letters, in place of what waits')
    .option('-o, --output <file>', 'into this file, not to standard output')
    .addHelpText(
      'after',
      examples('holdfast spool export -o backlog.jsonl', 'holdfast spool export --quarantine --format csv'),
    )
    .action(does(async (options) => (await import('./spool-export.ts')).spoolExport(options)));
  spool
    .command('import')
    .description('take in messages that were exported')
    .argument('<file>', 'of JSON lines; - for standard input')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast spool import backlog.jsonl'))
    .action(does(async (file, options) => (await import('./spool-import.ts')).spoolImport(file, options)));
  spool
    .command('compact')
    .description('make its file as small as what is in it')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast spool compact'))
    .action(does(async (options) => (await import('./spool-compact.ts')).spoolCompact(options)));

  const letters = spool.command('dead-letters').description('messages that the upstream will never take');
  letters
    .command('list')
    .description('all of them, oldest first, and why')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast spool dead-letters list'))
    .action(does(async (options) => (await import('./spool-dead-letters.ts')).listDeadLetters(options)));
  const orders = [
    ['retry', 'send them again, as new messages', 'holdfast spool dead-letters retry 17 18'],
    ['drop', 'let them go, counted as discarded', 'holdfast spool dead-letters drop --all'],
  ] as const;
  for (const [order, about, example] of orders) {
    letters
      .command(order)
      .description(about)
      .argument('[number...]', 'which, as `list` numbers them', numbered)
      .addOption(config())
      .addOption(json())
      .option('--all', 'every one')
      .addHelpText('after', examples(example))
      .action(
        does(async (numbers: number[], options: OrderOptions) =>
          (await import('./spool-dead-letters.ts')).orderDeadLetters(order, numbers, options),
        ),
      );
  }
}

/** Numbers, one after the other. */
function numbered(text: string, before: number[] | undefined): number[] {
  return [...(before ?? []), count(1)(text)];
}
