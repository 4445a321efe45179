import { Option, type Command } from 'commander';
import { config, examples, json, repeated } from './options.ts';
import type { Does } from './spool-program.ts';

const reference = () =>
  new Option('--reference <name=file>', 'a table that the query joins: CSV, a JSON array, or JSON lines').argParser(
    repeated,
  );
const module = () => new Option('--module <id>', 'of a gateway.yaml: this module only');

/** `holdfast rules ...`. */
export function addRulesCommands(program: Command, does: Does): void {
  const rules = program.command('rules').description('local rules: queries over streams of events');
  rules
    .command('check')
    .description('what is wrong with a query, with its place')
    .argument('<file>', "a query's text, or a gateway.yaml for all its modules")
    .addOption(reference())
    .addOption(module())
    .addOption(json())
    .addOption(config().hideHelp())
    .addHelpText('after', examples('holdfast rules check cooldown.sql', 'holdfast rules check gateway.yaml'))
    .action(does(async (file, options) => (await import('./rules-check.ts')).rulesCheck(file, options)));
  rules
    .command('test')
    .description('replay events from a file by their own time, and print what the query makes of them')
    .requiredOption('--query <file>', "a query's text, or a gateway.yaml")
    .addOption(new Option('--input <[name=]file>', 'events, a JSON object on each line').argParser(repeated))
    .addOption(reference())
    .addOption(module())
    .option('--timestamp-by <field>', 'where events have their time, for an input without TIMESTAMP BY')
    .addOption(new Option('--json', 'no difference: it is JSON lines anyway'))
    .addOption(config().hideHelp())
    .addHelpText(
      'after',
      examples(
        'holdfast rules test --query cooldown.sql --input events.jsonl',
        'holdfast rules test --query joined.sql --input doors=doors.jsonl --input temps=temps.jsonl --reference rooms=rooms.csv',
      ),
    )
    .action(does(async (options) => (await import('./rules-test.ts')).rulesTest(options)));
  rules
    .command('explain')
    .description('how a query runs: its steps, windows, and what it remembers')
    .argument('<file>', "a query's text, or a gateway.yaml for all its modules")
    .addOption(reference())
    .addOption(module())
    .addOption(json())
    .addOption(config().hideHelp())
    .addHelpText('after', examples('holdfast rules explain cooldown.sql'))
    .action(does(async (file, options) => (await import('./rules-explain.ts')).rulesExplain(file, options)));
}
