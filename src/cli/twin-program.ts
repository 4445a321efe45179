import { Option, type Command } from 'commander';
import { config, examples, json, jsonText } from './options.ts';
import type { Does } from './spool-program.ts';

const module = () => new Option('--module <id>', 'of this module of it');

/** `holdfast twin ...`. */
export function addTwinCommands(program: Command, does: Does): void {
  const twin = program.command('twin').description('what children shall be, and what they say that they are');
  twin
    .command('get')
    .description('desired and reported properties, each with its $version')
    .argument('<child>', 'or the gateway')
    .addOption(module())
    .addOption(config())
    .addOption(new Option('--json', 'no difference: it is JSON anyway'))
    .addHelpText('after', examples('holdfast twin get press-1'))
    .action(does(async (child, options) => (await import('./twin-get.ts')).twinGet(child, options)));
  twin
    .command('set')
    .description('change desired properties; null deletes one')
    .argument('<child>', 'or the gateway')
    .addOption(new Option('--desired <json>', 'what changes').argParser(jsonText).makeOptionMandatory())
    .option('--replace', 'it is all that there shall be: the others are deleted')
    .addOption(module())
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast twin set press-1 --desired \'{"speed": 5, "note": null}\''))
    .action(does(async (child, options) => (await import('./twin-set.ts')).twinSet(child, options)));
}
