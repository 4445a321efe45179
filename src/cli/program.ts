import { Command, CommanderError, Option } from 'commander';
import { VERSION } from '../config/version.ts';
import { addChildrenCommands } from './children-program.ts';
import { crashText, endTidily } from './ending.ts';
import { addFleetCommands } from './fleet-program.ts';
import { config, count, examples, json, jsonText, listed } from './options.ts';
import { FOUND_A_PROBLEM, USED_WRONGLY, say } from './output.ts';
import { addProfileCommands } from './profile-program.ts';
import { addRulesCommands } from './rules-program.ts';
import { addSerialCommands } from './serial-program.ts';
import { addSpoolCommands } from './spool-program.ts';
import { addTwinCommands } from './twin-program.ts';

/** Longest that a direct method may take, seconds. */
const METHOD_SECS_MAX = 300;

/** Runs one command line; resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  // As with most variables: set to nothing is not set.
  for (const name of ['HOLDFAST_CONFIG', 'HOLDFAST_FLEET_CONFIG'])
    if (process.env[name] === '') delete process.env[name];
  let code = 0;
  // Each command is imported when it is used: `run` on a small board must not pay for the others.
  const does =
    <Args extends unknown[]>(command: (...args: Args) => Promise<number>) =>
    async (...args: Args) => {
      endTidily();
      code = await command(...args);
    };

  const program = new Command('holdfast')
    .description(
      'Offline-first gateway: sensors in, a durable spool in the middle, MQTT upstream when there is a network.',
    )
    .version(VERSION)
    // After help or a complaint was written: to a reader who may have gone (`holdfast --help | head -n 1`).
    .exitOverride((error) => {
      endTidily();
      throw error;
    })
    .showHelpAfterError('(add --help for what there is)')
    .addHelpText('after', examples('holdfast check', 'holdfast run', 'holdfast monitor').trimEnd())
    .addHelpText('after', `\nExit codes: 0 fine, 1 found a problem, 2 used wrongly. The documentation: docs/cli.md`);

  program
    .command('run')
    .description('run the gateway until it is told to stop')
    .addOption(config())
    .addOption(new Option('--log-level <level>').choices(['trace', 'debug', 'info', 'warn', 'error']).default('info'))
    .addOption(new Option('--log-format <format>').choices(['text', 'json', 'journald']))
    .addHelpText('after', examples('holdfast run --config gateway.yaml'))
    // Not `does`: a gateway outlives whoever reads its log.
    .action(async (options) => {
      code = await (await import('./run.ts')).run(options);
    });

  program
    .command('check')
    .description('look for what keeps a gateway from working, and say what to do about it')
    .addOption(config())
    .addOption(json())
    .addOption(new Option('--only <id...>', 'only these checks').argParser(listed))
    .addOption(new Option('--skip <id...>', 'not these checks').argParser(listed))
    .option('--list', 'say which checks there are')
    .option('--warnings-as-errors', 'exit with 1 for warnings, too')
    .addHelpText('after', examples('holdfast check --only serial', 'sudo -u holdfast holdfast check'))
    .action(does(async (options) => (await import('./check.ts')).check(options)));

  program
    .command('status')
    .description('how the running gateway is doing')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast status'))
    .action(does(async (options) => (await import('./status.ts')).status(options)));

  program
    .command('list')
    .description('children and modules, and how each is doing')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast list --json'))
    .action(does(async (options) => (await import('./list.ts')).list(options)));

  program
    .command('logs')
    .description("what the running gateway has said, from its memory; else what systemd's journal has of it")
    .argument('[child]', 'only what is about this child')
    .addOption(config())
    .addOption(new Option('--json', 'one JSON text a line'))
    .option('-f, --follow', 'go on with each new line, until Ctrl-C')
    .addOption(new Option('--tail <lines>', 'only the last so many (10 with --follow, else all)').argParser(count(0)))
    .option('--journal', "from systemd's journal, lives before this one included")
    .addHelpText('after', examples('holdfast logs --follow press-1', 'holdfast logs --journal --tail 100'))
    .action(does(async (child, options) => (await import('./logs.ts')).logs(child, options)));

  program
    .command('restart')
    .description("restart one child's driver, or the whole gateway")
    .argument('[child]', 'its driver only')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast restart meter'))
    .action(does(async (child, options) => (await import('./restart.ts')).restart(child, options)));

  program
    .command('reload')
    .description('have the running gateway read its configuration again, and take up what it can')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast reload'))
    .action(does(async (options) => (await import('./reload.ts')).reload(options)));

  program
    .command('metrics')
    .description('what the running gateway counts, for Prometheus')
    .addOption(config())
    .addHelpText('after', examples('holdfast metrics > holdfast.prom'))
    .action(does(async (options) => (await import('./metrics.ts')).metrics(options)));

  program
    .command('support-bundle')
    .description('one file with what somebody who helps needs to know, without secrets')
    .addOption(config())
    .addOption(json())
    .option('-o, --output <file>', 'write it there; it must not exist')
    .addHelpText('after', examples('sudo holdfast support-bundle -o support.tar.gz'))
    .action(does(async (options) => (await import('./support-bundle.ts')).supportBundle(options)));

  program
    .command('monitor')
    .description('show messages as they arrive at the broker')
    .addOption(config())
    .addOption(new Option('--json', 'one JSON text a line'))
    .option('--url <url>', 'this broker, without a configuration')
    .option('--ca <file>', 'with --url: certificates to judge the broker by, PEM')
    .option('--gateway <id>', 'the messages of this gateway')
    .option('--child <id>', 'the messages of this child')
    .addOption(new Option('--all', 'the messages of every gateway').conflicts('gateway'))
    .addOption(new Option('--count <number>', 'stop after so many').argParser(count(1)))
    .addHelpText(
      'after',
      examples('holdfast monitor --child press-1', 'holdfast monitor --url mqtt://localhost:1883 --json --count 10'),
    )
    .action(does(async (options) => (await import('./monitor.ts')).monitor(options)));

  addChildrenCommands(program, does);
  addSpoolCommands(program, does);
  addRulesCommands(program, does);
  addTwinCommands(program, does);
  addProfileCommands(program, does);
  addSerialCommands(program, does);
  addFleetCommands(program, does);

  const configuration = program.command('config').description('look at the configuration');
  configuration
    .command('check')
    .description('every problem of the configuration, with its place')
    .argument('[file]', 'this one, in place of --config')
    .addOption(config())
    .addOption(json())
    .addHelpText('after', examples('holdfast config check gateway.yaml'))
    .action(does(async (file, options) => (await import('./config-check.ts')).configCheck(file, options)));
  configuration
    .command('import-edgehub')
    .description('routes and storage settings of an Azure IoT Edge deployment, as a configuration')
    .argument('<deployment>', "a deployment manifest, or its edge hub's desired properties, JSON")
    .option('-o, --output <file>', 'write it there; it must not exist')
    .addOption(json())
    .addHelpText('after', examples('holdfast config import-edgehub deployment.json -o gateway.yaml'))
    .action(
      does(async (file, options) => (await import('./config-import-edgehub.ts')).configImportEdgehub(file, options)),
    );
  configuration
    .command('schema')
    .description('the JSON Schema of gateway.yaml, for editors')
    .addOption(config().hideHelp())
    .addOption(json().hideHelp())
    .addHelpText('after', examples('holdfast config schema > gateway.schema.json'))
    .action(does(async () => (await import('./config-schema.ts')).configSchema()));

  program
    .command('routes')
    .description('where messages go')
    .command('test')
    .description('which routes a message takes, and why')
    .requiredOption('--message <file>', 'the message as JSON, such as a line of monitor --json; - is standard input')
    .addOption(config())
    .addOption(json())
    .addHelpText(
      'after',
      examples(
        'holdfast routes test --message hot.json',
        `echo '{"child": "press-1", "body": {"t": 31}}' | holdfast routes test --message -`,
      ),
    )
    .action(does(async (options) => (await import('./routes-test.ts')).routesTest(options)));

  program
    .command('method')
    .description('direct methods')
    .command('invoke')
    .description('have a child (or the gateway) do something, and show its answer')
    .argument('<child>')
    .argument('<name>', 'of the method')
    .addOption(config())
    .addOption(json())
    .addOption(new Option('--payload <json>', 'what the method is given').argParser(jsonText))
    .addOption(new Option('--timeout <secs>', 'how long it may take').argParser(count(1, METHOD_SECS_MAX)).default(30))
    .addHelpText(
      'after',
      examples('holdfast method invoke press-1 reset', 'holdfast method invoke door set --payload \'{"value": 1}\''),
    )
    .action(
      does(async (child, name, options) => (await import('./method-invoke.ts')).methodInvoke(child, name, options)),
    );

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
    .addHelpText('after', examples('holdfast simulate --outage 10s'))
    // Not `does`: it stops its gateway properly when its reader goes away.
    .action(async (options) => {
      code = await (await import('./simulate.ts')).simulate(options);
    });

  try {
    await program.parseAsync([...argv]);
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USED_WRONGLY;
    say(crashText(error));
    return (error as { code?: unknown }).code === USED_WRONGLY ? USED_WRONGLY : FOUND_A_PROBLEM;
  }
}
