import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { readCredentials } from '../config/credentials.ts';
import { readYaml } from '../config/document.ts';
import { ConfigError } from '../config/problem.ts';
import { UpstreamSchema } from '../config/upstream.ts';
import type { UpstreamConfig } from '../config/schema.ts';
import { resolveSecret } from '../config/secret.ts';
import { validate } from '../config/validate.ts';
import { section, text } from '../config/values.ts';
import { Fleet, FleetError, type BrokerOptions } from '../fleet/fleet.ts';
import { operatorHome } from '../fleet/operator-folder.ts';
import { configured } from './configured.ts';
import { DEFAULT_CONFIG } from './options.ts';
import { CliError, USED_WRONGLY } from './output.ts';

/** Options that every `holdfast fleet` command has. */
export interface FleetCommandOptions {
  readonly url?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly ca?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly fleetConfig?: string;
  readonly config?: string;
  readonly folder?: string;
  readonly gateway?: string;
  readonly json?: boolean;
}

/** The operator's file: `upstream` is what it is in gateway.yaml. */
const FleetFileSchema = section({
  upstream: UpstreamSchema,
  folder: text('a folder', 'fleet')
    .describe("Where the operator's keys are; a relative path starts at the folder of this file.")
    .exactOptional(),
});

/** Where the fleet is. */
export interface FleetPlace {
  readonly broker: BrokerOptions;
  /** Of the operator's keys; undefined: the usual one. */
  readonly folder: string | undefined;
  /** The gateway whose configuration led here, if one did. */
  readonly local: string | undefined;
}

/** Which broker: of `--url`, else of the operator's file, else the upstream of the gateway here. Throws a CliError. */
export function fleetPlace(options: FleetCommandOptions): FleetPlace {
  const { url, fleetConfig, config, folder } = options;
  try {
    if (url !== undefined) return { broker: brokerAt(url, options), folder, local: undefined };
    const unused = (['username', 'passwordFile', 'ca', 'clientCert', 'clientKey'] as const).find((key) => options[key]);
    if (unused !== undefined)
      throw new CliError(
        `--${unused.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} is for --url`,
        USED_WRONGLY,
      );
    const file = fleetConfig ?? (config === undefined ? usualFile() : undefined);
    if (file !== undefined) return fromFleetFile(file, folder);
    return fromGatewayFile(config ?? DEFAULT_CONFIG, folder);
  } catch (error) {
    throw unusable(error);
  }
}

/** Where the operator's keys are: in `--folder`, else where the operator's file says; undefined: in the usual place. Throws a CliError. */
export function keyFolder({ folder, fleetConfig }: FleetCommandOptions): string | undefined {
  const file = fleetConfig ?? usualFile();
  if (folder !== undefined || file === undefined) return folder;
  try {
    return readFleetFile(file).folder;
  } catch (error) {
    throw unusable(error);
  }
}

/** Connects, works, and leaves. What the fleet says that cannot be done, becomes a CliError. */
export async function withFleet(
  options: FleetCommandOptions,
  work: (fleet: Fleet, place: FleetPlace) => Promise<number>,
): Promise<number> {
  const place = fleetPlace(options);
  try {
    const fleet = await Fleet.connect({ ...place.broker, folder: place.folder });
    try {
      return await work(fleet, place);
    } finally {
      await fleet.close();
    }
  } catch (error) {
    throw error instanceof FleetError ? new CliError(error.message) : error;
  }
}

/** The gateway that is meant. Throws a CliError when none is named. */
export function gatewayMeant({ gateway }: FleetCommandOptions, { local }: FleetPlace): string {
  const meant = gateway ?? local;
  if (meant === undefined) throw new CliError('say which gateway, with --gateway ID', USED_WRONGLY);
  return meant;
}

function brokerAt(url: string, options: FleetCommandOptions): BrokerOptions {
  const { username, passwordFile, clientCert, clientKey } = options;
  if ((clientCert === undefined) !== (clientKey === undefined))
    throw new CliError('--client-cert and --client-key go together', USED_WRONGLY);
  const files = { ca: options.ca, cert: clientCert, key: clientKey };
  const tls = Object.fromEntries(
    Object.entries(files).flatMap(([name, file]) => (file === undefined ? [] : [[name, readFileSync(file, 'utf8')]])),
  );
  const password = passwordFile === undefined ? undefined : resolveSecret(passwordFile, process.cwd()).value;
  return { url, protocol: 'auto', username, password, tls };
}

/** The operator's file where it is looked for; undefined: there is none. */
function usualFile(): string | undefined {
  const usual = join(operatorHome(), 'fleet.yaml');
  return existsSync(usual) ? usual : undefined;
}

function unusable(error: unknown): CliError {
  if (error instanceof ConfigError) return new CliError(`the fleet's file cannot be used:\n${error.message}`);
  // Else of a file that cannot be read.
  return error instanceof CliError ? error : new CliError((error as Error).message);
}

/** Its paths come out absolute. */
function readFleetFile(file: string) {
  const document = readYaml(file);
  const found = validate(FleetFileSchema, document, document.root);
  if ('problems' in found) throw new ConfigError(found.problems);
  const { upstream, folder } = found.value;
  const dir = dirname(resolve(file));
  const absolute = (path: string | undefined) => (path === undefined ? undefined : resolve(dir, path));
  const { ca, clientCert, clientKey, ...rest } = upstream;
  const paths = { ca: absolute(ca), clientCert: absolute(clientCert), clientKey: absolute(clientKey) };
  const there = Object.fromEntries(Object.entries(paths).filter(([, path]) => path !== undefined));
  return { upstream: { ...rest, ...there, clientId: rest.clientId ?? 'holdfast' }, folder: absolute(folder) };
}

function fromFleetFile(file: string, folder: string | undefined): FleetPlace {
  const { upstream, folder: named } = readFleetFile(file);
  return { broker: brokerOf(upstream, file), folder: folder ?? named, local: undefined };
}

function fromGatewayFile(file: string, folder: string | undefined): FleetPlace {
  if (!existsSync(file)) {
    const usual = join(operatorHome(), 'fleet.yaml');
    throw new CliError(
      `say at which broker the fleet is: with --url mqtts://broker.example:8883, or in ${usual} (upstream: { url: ... })`,
      USED_WRONGLY,
    );
  }
  const { config, path } = configured(file);
  if (config.upstream === undefined)
    throw new CliError(`${file} names no upstream; name a broker with --url mqtts://broker.example:8883`);
  return { broker: brokerOf(config.upstream, path), folder, local: config.gateway.id };
}

/** As the gateway with this upstream would call. */
function brokerOf(upstream: UpstreamConfig, path: string): BrokerOptions {
  const { url, protocol, dialect, dnsServers } = upstream;
  if (dialect === 'iothub')
    throw new CliError(
      'a fleet is looked after in the holdfast dialect; that of Azure IoT Hub has tools of its own: az iot',
    );
  const { username, password, tls, proxy } = readCredentials(upstream, path, { known: true, now: Date.now });
  return { url, protocol, username, password, tls, proxy, dnsServers };
}
