import { readFileSync } from 'node:fs';
import { namedRoutes } from '../config/routes.ts';
import { LANE_UNSPECIFIED, type Message } from '../message/message.ts';
import { MessageView } from '../router/message-view.ts';
import { explained } from '../router/route-explanation.ts';
import { sinkKey } from '../router/route.ts';
import { RouteTable, sourceText } from '../router/route-table.ts';
import { configured, type CommonOptions } from './configured.ts';
import { messageOf, NoSuchMessage } from './message-form.ts';
import { CliError, coloured, FINE, FOUND_A_PROBLEM, print, printable, printJson, USED_WRONGLY } from './output.ts';

export interface RoutesTestOptions extends CommonOptions {
  readonly message: string;
}

/** `holdfast routes test`: which routes a message takes, and why. Ends with 1 when none does. */
export function routesTest(options: RoutesTestOptions): number {
  const { config } = configured(options.config);
  const message = readMessage(options.message, config.gateway.id);
  const routes = namedRoutes(config.routes);
  const view = new MessageView(message);
  const held = routes.map(({ name, route }) => ({
    name,
    route: route.text,
    sink: sinkKey(route.sink),
    ...explained(route, view),
  }));
  const sinks = new RouteTable(routes).taken(message).map(({ name, route, priority, timeToLiveSecs }) => {
    const lane = priority ?? LANE_UNSPECIFIED;
    const isUpstream = route.sink.kind === 'upstream';
    const life = isUpstream ? { lane, timeToLiveSecs: timeToLiveSecs ?? config.storeAndForward.timeToLiveSecs } : {};
    return { sink: sinkKey(route.sink), route: name, priority: priority ?? null, ...life };
  });
  const source = sourceText(message.source);
  if (options.json === true)
    printJson({ source, child: message.source.child, matches: sinks.length > 0, routes: held, sinks });
  else {
    print(printable(`from ${source} of ${message.source.child}`));
    for (const { name, matches, reasons } of held) {
      print(`${matches ? coloured('green', 'yes') : coloured('gray', 'no ')}  ${name}`);
      for (const each of reasons) print(printable(`     ${each}`));
    }
    if (sinks.length === 0) print('no route takes it: it is accepted and dropped, reason no-route');
    for (const { sink, route, lane, timeToLiveSecs, priority } of sinks) {
      const life =
        lane === undefined ? '' : `, priority ${priority ?? `none (lane ${lane})`}, time to live ${timeToLiveSecs} s`;
      print(`goes to ${sink} by ${route}${life}`);
    }
  }
  return sinks.length > 0 ? FINE : FOUND_A_PROBLEM;
}

function readMessage(file: string, gateway: string): Message {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new CliError(`the message cannot be read: ${(error as Error).message}`, USED_WRONGLY);
  }
  try {
    return messageOf(text, gateway, Date.now());
  } catch (error) {
    if (!(error instanceof NoSuchMessage)) throw error;
    throw new CliError(`${file === '-' ? 'standard input' : file} is no message: ${error.message}`, USED_WRONGLY);
  }
}
