import type { Command } from 'commander';
import { examples, json } from './options.ts';
import type { Does } from './spool-program.ts';

/** `holdfast profile ...`. */
export function addProfileCommands(program: Command, does: Does): void {
  const profile = program.command('profile').description('kinds of boards: what each has, and which one this is');
  profile
    .command('detect')
    .description('which kind of board this is')
    .addOption(json())
    .addHelpText('after', examples('holdfast profile detect'))
    .action(does(async (options) => (await import('./profile.ts')).detectProfile(options)));
  profile
    .command('list')
    .description('all profiles; * is for this board')
    .addOption(json())
    .addHelpText('after', examples('holdfast profile list'))
    .action(does(async (options) => (await import('./profile.ts')).listAllProfiles(options)));
  profile
    .command('show')
    .description('what a kind of board has: ports, lines, storage, LEDs, watchdog')
    .argument('[name]', "a profile's name, or a file; left out: this board's")
    .addOption(json())
    .addHelpText(
      'after',
      examples('holdfast profile show raspberry-pi-4', 'holdfast profile show ./our-board.yaml --json'),
    )
    .action(does(async (name, options) => (await import('./profile.ts')).showProfile(name, options)));
}
