import { Option, type Command } from 'commander';
import { withAuth } from './children-program.ts';
import { count, examples, json, jsonText } from './options.ts';
import type { Does } from './spool-program.ts';

/** Longest that a direct method, and a gateway's answer to a change, may take, seconds. */
const METHOD_SECS_MAX = 300;
const WAIT_SECS_MAX = 3600;

const gateway = () => new Option('--gateway <id>', 'which gateway');
const folder = () => new Option('--folder <folder>', "where the operator's keys are");
const module = () => new Option('--module <id>', 'a module of this child');
const fleetConfig = () =>
  new Option('--fleet-config <file>', 'the fleet file; ~/.config/holdfast/fleet.yaml where there is one').env(
    'HOLDFAST_FLEET_CONFIG',
  );
const lines = () => new Option('--json', 'one JSON text a line');

/** Where the fleet is. `passwordOption`: `--password-file` is the child's where children are added. */
function atBroker(command: Command, passwordOption = '--password-file'): Command {
  return command
    .option('--url <url>', 'this broker; else the one in the fleet file, else the upstream of the gateway here')
    .option('--username <name>', 'with --url: the user name')
    .option(`${passwordOption} <file>`, 'with --url: the password')
    .option('--ca <file>', 'with --url: certificates to judge the broker by, PEM')
    .option('--client-cert <file>', 'with --url: our certificate, PEM')
    .option('--client-key <file>', 'with --url: its private key, PEM')
    .addOption(fleetConfig())
    .addOption(new Option('-c, --config <file>', 'the configuration of a gateway here').env('HOLDFAST_CONFIG'));
}

/** What every change of children has. */
function changing(command: Command): Command {
  return command
    .addOption(gateway())
    .addOption(folder())
    .addOption(json())
    .option('--accept-new-key', "take the gateway's key though it had another before")
    .option('--accept-unsigned', 'go on from a document that our signing key has not signed')
    .option('--no-wait', 'do not wait for what the gateway makes of it')
    .addOption(
      new Option('--wait-secs <seconds>', 'wait so long for it').argParser(count(1, WAIT_SECS_MAX)).default(20),
    );
}

/** `holdfast fleet ...`. */
export function addFleetCommands(program: Command, does: Does): void {
  const fleet = program.command('fleet').description('gateways from afar: everything through their broker');
  atBroker(fleet.command('list').description('every gateway that the broker remembers, and how each is doing'))
    .addOption(json())
    .addHelpText('after', examples('holdfast fleet list --url mqtts://broker.example:8883 --username operator'))
    .action(does(async (options) => (await import('./fleet-list.ts')).fleetList(options)));
  atBroker(fleet.command('status').description('what one gateway says of itself; ends with 1 when it is offline'))
    .argument('[gateway]')
    .addOption(gateway())
    .addOption(json())
    .addHelpText('after', examples('holdfast fleet status line-4'))
    .action(does(async (id, options) => (await import('./fleet-status.ts')).fleetStatus(id, options)));
  fleet
    .command('key')
    .description("the public halves of the operator's keys")
    .addOption(folder())
    .addOption(fleetConfig())
    .addOption(json())
    .option('--make-signing-key', 'make the key that signs registry documents')
    .option('--signing', 'only the signing key: what goes to registry.trust of gateways')
    .addHelpText('after', examples('holdfast fleet key', 'holdfast fleet key --signing > fleet.pub.jwk'))
    .action(does(async (options) => (await import('./fleet-key.ts')).fleetKey(options)));
  atBroker(fleet.command('monitor').description('messages of all gateways, or of one, as they arrive'))
    .addOption(gateway())
    .addOption(lines())
    .option('--child <id>', 'the messages of this child')
    .addOption(new Option('--count <number>', 'stop after so many').argParser(count(1)))
    .addHelpText('after', examples('holdfast fleet monitor --gateway line-4 --json'))
    .action(does(async (options) => (await import('./fleet-losses.ts')).fleetMonitor(options)));
  atBroker(fleet.command('losses').description('what gateways have lost so far, then each loss as it is reported'))
    .addOption(gateway())
    .addOption(lines())
    .option('--totals', 'only what was lost so far')
    .addOption(new Option('--count <number>', 'stop after so many').argParser(count(1)))
    .addHelpText('after', examples('holdfast fleet losses', 'holdfast fleet losses --totals --json'))
    .action(does(async (options) => (await import('./fleet-losses.ts')).fleetLosses(options)));
  addChildren(fleet, does);
  addTwin(fleet, does);
  atBroker(
    fleet.command('method').description('direct methods').command('invoke').description('have a child do something'),
  )
    .argument('<child>', 'or the gateway itself')
    .argument('<name>')
    .addOption(gateway())
    .addOption(module())
    .addOption(json())
    .addOption(new Option('--payload <json>', 'what it is given').argParser(jsonText))
    .addOption(
      new Option('--timeout <seconds>', 'how long it may take').argParser(count(1, METHOD_SECS_MAX)).default(30),
    )
    .addHelpText('after', examples("holdfast fleet method invoke press-1 reset --payload '{}' --gateway line-4"))
    .action(
      does(async (child, name, options) => (await import('./fleet-method.ts')).fleetMethodInvoke(child, name, options)),
    );
  addConfig(fleet, does);
}

function addChildren(fleet: Command, does: Does): void {
  const children = fleet.command('children').description('who may connect to a gateway: its registry document');
  atBroker(children.command('list').description('all of them, and how each shows who it is'))
    .addOption(gateway())
    .addOption(folder())
    .addOption(json())
    .option('--accept-unsigned', 'also of a document that our signing key has not signed')
    .option('--secrets', 'with --json: their keys, too')
    .addHelpText('after', examples('holdfast fleet children list --gateway line-4'))
    .action(does(async (options) => (await import('./fleet-children.ts')).fleetChildrenList(options)));
  changing(
    atBroker(
      withAuth(
        children
          .command('add')
          .description('let a child connect, or a module of one, and print what to hand to it')
          .argument('<id>')
          .addOption(module()),
      ),
      '--broker-password-file',
    ),
  )
    .option('--as-gateway', 'it is a gateway, with children of its own')
    .option('--disabled', 'not yet')
    .option('--host-name <name>', 'where it connects, if the gateway does not say')
    .addHelpText(
      'after',
      examples(
        'holdfast fleet children add panel --sas --gateway line-4',
        'holdfast fleet children add cell-2 --as-gateway --x509-ca --gateway line-4',
      ),
    )
    .action(does(async (id, options) => (await import('./fleet-children.ts')).fleetChildrenAdd(id, options)));
  changing(atBroker(children.command('remove').description('take a child out, or a module of one')))
    .argument('<id>')
    .addOption(module())
    .addHelpText('after', examples('holdfast fleet children remove panel --gateway line-4'))
    .action(does(async (id, options) => (await import('./fleet-children.ts')).fleetChildrenRemove(id, options)));
  for (const [command, status, about] of [
    ['enable', 'enabled', 'let a disabled child connect again'],
    ['disable', 'disabled', 'cut a child off; it keeps its credentials'],
  ] as const) {
    changing(atBroker(children.command(command).description(about)))
      .argument('<id>')
      .addHelpText('after', examples(`holdfast fleet children ${command} panel --gateway line-4`))
      .action(
        does(async (id, options) => (await import('./fleet-children.ts')).fleetChildrenStatus(status, id, options)),
      );
  }
  changing(
    atBroker(
      children.command('rotate-key').description('make a new primary key; the one before goes on as the secondary'),
    ),
  )
    .argument('<id>')
    .addOption(module())
    .option('--both', 'make both anew: no key of before counts any more')
    .option('--host-name <name>', 'where it connects, if the gateway does not say')
    .addHelpText('after', examples('holdfast fleet children rotate-key panel --gateway line-4'))
    .action(does(async (id, options) => (await import('./fleet-children.ts')).fleetChildrenRotateKey(id, options)));
  changing(
    atBroker(
      children.command('import').description('add many children: a registry document, or an export of Azure IoT Hub'),
    ),
  )
    .argument('<file>', 'JSON, or one JSON text a line; - is standard input')
    .option('--replace', 'they are all that there shall be, whatever there was')
    .addHelpText('after', examples('holdfast fleet children import devices.txt --gateway line-4'))
    .action(does(async (file, options) => (await import('./fleet-children.ts')).fleetChildrenImport(file, options)));
}

function addTwin(fleet: Command, does: Does): void {
  const twin = fleet.command('twin').description('what children shall be, and what they say that they are');
  atBroker(twin.command('get').description('desired and reported properties, each with its $version'))
    .argument('<child>', 'or the gateway itself')
    .addOption(gateway())
    .addOption(module())
    .addOption(new Option('--json', 'no difference: it is JSON anyway'))
    .addHelpText('after', examples('holdfast fleet twin get press-1 --gateway line-4'))
    .action(does(async (child, options) => (await import('./fleet-twin.ts')).fleetTwinGet(child, options)));
  atBroker(twin.command('set').description('change desired properties; null deletes one'))
    .argument('<child>', 'or the gateway itself')
    .addOption(new Option('--desired <json>', 'what changes').argParser(jsonText).makeOptionMandatory())
    .option('--replace', 'it is all that there shall be: the others are deleted')
    .addOption(gateway())
    .addOption(module())
    .addOption(json())
    .addHelpText('after', examples('holdfast fleet twin set press-1 --desired \'{"speed": 5}\' --gateway line-4'))
    .action(does(async (child, options) => (await import('./fleet-twin.ts')).fleetTwinSet(child, options)));
}

function addConfig(fleet: Command, does: Does): void {
  const settings = fleet.command('config').description('what a gateway shall do otherwise than its file says');
  atBroker(settings.command('get').description('what it shall do, and what it made of that'))
    .addOption(gateway())
    .addOption(new Option('--json', 'no difference: it is JSON anyway'))
    .addHelpText('after', examples('holdfast fleet config get --gateway line-4'))
    .action(does(async (options) => (await import('./fleet-settings.ts')).fleetConfigGet(options)));
  atBroker(settings.command('set').description('change it, and wait for what the gateway makes of it'))
    .argument('<pair...>', 'KEY=VALUE; a value is JSON or a text, and null takes a key back')
    .addOption(gateway())
    .addOption(json())
    .option('--no-wait', 'do not wait for it')
    .addOption(
      new Option('--wait-secs <seconds>', 'wait so long for it').argParser(count(1, WAIT_SECS_MAX)).default(20),
    )
    .addHelpText(
      'after',
      examples(
        'holdfast fleet config set storeAndForward.timeToLiveSecs=86400 --gateway line-4',
        "holdfast fleet config set 'routes.all=FROM /messages/* INTO $upstream' --gateway line-4",
      ),
    )
    .action(does(async (pairs, options) => (await import('./fleet-settings.ts')).fleetConfigSet(pairs, options)));
}
