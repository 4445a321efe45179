import type { Command } from 'commander';
import { config, examples, json } from './options.ts';
import type { Does } from './spool-program.ts';

/** `holdfast children ...` and `holdfast provision ...`. */
export function addChildrenCommands(program: Command, does: Does): void {
  const children = program.command('children').description('the children that may connect, and their credentials');
  children
    .command('list')
    .description('all of them, and how each shows who it is')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast children list'))
    .action(does(async (options) => (await import('./children-list.ts')).listChildren(options)));
  withAuth(
    children
      .command('add')
      .description('let a child connect, or a module of one, and print what to hand to it')
      .argument('<id>')
      .addOption(config())
      .addOption(json())
      .option('--module <id>', 'a module of this child'),
  )
    .option('--disabled', 'not yet')
    .option('--as-gateway', 'it is a gateway with children of its own')
    .addHelpText(
      'after',
      examples(
        'holdfast children add panel --sas',
        'holdfast children add pump --password-file pump.password',
        'holdfast children add line-5 --password-file line-5.password --as-gateway',
      ),
    )
    .action(does(async (id, options) => (await import('./children-add.ts')).addChild(id, options)));
  children
    .command('remove')
    .description('take a child out, or a module of one; who is connected as it is cut off')
    .argument('<id>')
    .addOption(config())
    .addOption(json())
    .option('--module <id>', 'a module of this child')
    .addHelpText('after', examples('holdfast children remove panel'))
    .action(does(async (id, options) => (await import('./children-change.ts')).removeChild(id, options)));
  for (const [command, status, about] of [
    ['enable', 'enabled', 'let a disabled child connect again'],
    ['disable', 'disabled', 'cut a child off; it keeps its credentials'],
  ] as const) {
    children
      .command(command)
      .description(about)
      .argument('<id>')
      .addOption(config())
      .addOption(json())
      .addHelpText('after', examples(`holdfast children ${command} panel`))
      .action(does(async (id, options) => (await import('./children-change.ts')).setChildStatus(status, id, options)));
  }
  children
    .command('show')
    .description('what is known of a child')
    .argument('<id>')
    .addOption(config())
    .addOption(json())
    .option('--secrets', 'its keys and its connection string, too')
    .addHelpText('after', examples('holdfast children show panel --secrets'))
    .action(does(async (id, options) => (await import('./children-list.ts')).showChild(id, options)));
  children
    .command('rotate-key')
    .description('make a new primary key; the one before goes on as the secondary')
    .argument('<id>')
    .addOption(config())
    .addOption(json())
    .option('--module <id>', 'of this module of the child')
    .option('--both', 'make both anew: no key of before counts any more')
    .addHelpText('after', examples('holdfast children rotate-key panel'))
    .action(does(async (id, options) => (await import('./children-change.ts')).rotateKey(id, options)));
  children
    .command('import')
    .description('add many children: a registry document, or an export of Azure IoT Hub')
    .argument('<file>', 'JSON, or one JSON text a line; - is standard input')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast children import devices.txt'))
    .action(does(async (file, options) => (await import('./children-import.ts')).importChildren(file, options)));

  const provision = program
    .command('provision')
    .description("set a machine up; the gateway's own keys and certificates");
  provision
    .command('apply')
    .description('take over a provisioning file: id, broker, credentials, network; then wipe it')
    .argument('[file]', 'holdfast-provision.yaml; that of the boot partition when left out')
    .addOption(json())
    .option('--root <folder>', 'the machine to set up, as a folder', '/')
    .addHelpText('after', examples('holdfast provision apply', 'holdfast provision apply mine.yaml --root /mnt/card'))
    .action(does(async (file, options) => (await import('./provision-apply.ts')).provisionApply(file, options)));
  provision
    .command('ca')
    .description('the certificate that children must trust')
    .addOption(config())
    .addOption(json())
    .option('--renew', 'make the authority anew; children must then be given its certificate again')
    .addHelpText('after', examples('holdfast provision ca > holdfast-ca.pem'))
    .action(does(async (options) => (await import('./provision-ca.ts')).provisionCa(options)));
  provision
    .command('rotate-key')
    .description('make a new key for what is kept of children, and seal it all with that')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast provision rotate-key'))
    .action(does(async (options) => (await import('./provision-ca.ts')).provisionRotateKey(options)));
}

/** The ways in which a child may show who it is. */
export function withAuth(command: Command): Command {
  return command
    .option('--sas', 'with a shared access key')
    .option('--primary-key <key>', 'with --sas: this one, base64; else it is made')
    .option('--secondary-key <key>', 'with --sas: this one, base64; else it is made')
    .option('--x509-thumbprint <hex>', 'with the certificate of this SHA-1 or SHA-256 thumbprint')
    .option('--secondary-thumbprint <hex>', 'with --x509-thumbprint: or with this one')
    .option('--x509-ca', 'with a certificate of its name by an authority in hub.clientCa')
    .option('--password-file <file>', 'with the password in this file, or its scrypt hash; - is standard input');
}
