import type { Auth } from '../registry/identity.ts';
import type { Configured } from './configured.ts';
import { keysDir } from '../registry/enrolment.ts';
import { print, say } from './output.ts';

/** What is handed to a child so that it can connect. */
export interface Handout {
  /** For the device SDKs; null without a hub, and for children that have a password. */
  readonly connectionString: string | null;
  /** What the child must trust; null when the hub's certificate is from files, it listens without TLS alone, or there is no hub. */
  readonly authority: string | null;
  readonly hostName: string | null;
}

/** What children connect to. */
export interface HubNames {
  readonly hostName: string;
  /** The hub name that SDK children carry in their user name and tokens; null: the same. */
  readonly iothubName: string | null;
  /** See {@link Handout}. */
  readonly authority: string | null;
}

/** With a shared access key it is a secret. */
export function handout({ config }: Configured, child: string, module: string | null, auth: Auth): Handout {
  const { hub } = config;
  if (hub === undefined) return handoutBy(null, child, module, auth);
  const { hostName, iothubName = null, cert, listen } = hub;
  const secured = listen.mqtts ?? listen.wss ?? listen.https;
  const authority = cert === undefined && secured !== undefined ? `${keysDir(config)}/ca.pem` : null;
  return handoutBy({ hostName, iothubName, authority }, child, module, auth);
}

/** The same by what is known of the hub; null: nothing. */
export function handoutBy(hub: HubNames | null, child: string, module: string | null, auth: Auth): Handout {
  if (hub === null) return { connectionString: null, authority: null, hostName: null };
  const parts = [
    // With a certificate the SDK for Node.js forgets GatewayHostName (azure-iot-device 1.18): the gateway is the hub then.
    `HostName=${'sas' in auth ? (hub.iothubName ?? hub.hostName) : hub.hostName}`,
    `DeviceId=${child}`,
    ...(module === null ? [] : [`ModuleId=${module}`]),
    ...('sas' in auth ? [`SharedAccessKey=${auth.sas.primaryKey}`, `GatewayHostName=${hub.hostName}`] : ['x509=true']),
  ];
  const connectionString = 'password' in auth ? null : parts.join(';');
  return { connectionString, authority: hub.authority, hostName: hub.hostName };
}

/** To people: what is secret goes to standard output alone. */
export function printHandout(where: Configured, child: string, module: string | null, auth: Auth): void {
  const given = handout(where, child, module, auth);
  if (given.hostName === null) say('there is no hub in the configuration yet: nobody can connect until there is one');
  sayHandout(given, child, module, auth);
  if (given.authority !== null) say(`it must trust ${given.authority} (\`holdfast provision ca\` prints it)`);
}

/** How the child connects, without what it must trust. */
export function sayHandout({ connectionString }: Handout, child: string, module: string | null, auth: Auth): void {
  if (connectionString !== null) {
    say(`its connection string${'sas' in auth ? ', a secret' : ''}:`);
    print(connectionString);
  } else if ('password' in auth) {
    say(`it connects with the user name ${module === null ? child : `${child}/${module}`} and its password`);
  } else if ('sas' in auth) print(auth.sas.primaryKey);
}
