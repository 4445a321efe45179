import { createInterface } from 'node:readline';
import sdk from 'azure-iot-device';
import type { DeviceMethodRequest, DeviceMethodResponse } from 'azure-iot-device';
import transports from 'azure-iot-device-mqtt';

/**
 * A device (or module) of the unmodified `azure-iot-device` SDK, in a process of its own. It is told what to do by lines of
 * JSON `{n, order, ...}` on its standard input, and answers each with `{n, answer}` or `{n, error}`; what happens to it
 * without being asked comes as `{event, ...}`.
 */
export interface SdkOptions {
  readonly connectionString: string;
  readonly transport: 'mqtt' | 'ws';
  readonly module: boolean;
  /** PEM of the authority that signed the gateway's certificate. */
  readonly ca: string;
  /** PEM; the connection string then says x509=true. */
  readonly x509?: { readonly cert: string; readonly key: string };
  /** How long its tokens are good for, s, and how long before that it makes a new one; the SDK's own when left out. */
  readonly token?: { readonly validSecs: number; readonly marginSecs: number };
}

export interface SdkMessage {
  readonly body: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly messageId?: string;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly correlationId?: string;
}

/** What it may be told, and what it answers. */
export interface SdkOrders {
  open: { order: Record<never, never>; answer: null };
  close: { order: Record<never, never>; answer: null };
  /** The answer comes with the gateway's PUBACK. */
  send: { order: { message: SdkMessage; output?: string }; answer: null };
  /** Gets the twin, and tells of each change of the desired properties from then on. */
  twin: { order: Record<never, never>; answer: { desired: unknown; reported: unknown } };
  report: { order: { patch: unknown }; answer: null };
  /** Answers the method with this status and `{heard: payload}` from now on. */
  method: { order: { name: string; status: number }; answer: null };
  /**
   * Tells of each cloud-to-device message (of each input message, when it is a module) from now on; connects for it. What a
   * gateway brings before anybody listens the SDK acknowledges and forgets.
   */
  receive: { order: Record<never, never>; answer: null };
  /** By the module client's HTTPS call. */
  invoke: {
    order: { device: string; module?: string; name: string; payload: unknown; timeoutSecs: number };
    answer: unknown;
  };
}

export type SdkEvent =
  | { readonly event: 'message'; readonly input: string | null; readonly message: SdkMessage }
  | { readonly event: 'desired'; readonly delta: unknown }
  | { readonly event: 'called'; readonly name: string; readonly payload: unknown }
  | { readonly event: 'renewed' }
  | { readonly event: 'disconnect'; readonly why: string }
  | { readonly event: 'error'; readonly why: string };

const options = JSON.parse(process.argv[2]!) as SdkOptions;
const client = make();
let twin: sdk.Twin | null = null;

function tell(line: SdkEvent | { n: number; answer?: unknown; error?: string }): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function words(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

function make(): sdk.Client | sdk.ModuleClient {
  const transport = options.transport === 'ws' ? transports.MqttWs : transports.Mqtt;
  const kind = options.module ? sdk.ModuleClient : sdk.Client;
  if (options.token === undefined) return kind.fromConnectionString(options.connectionString, transport);
  const { validSecs, marginSecs } = options.token;
  const provider = sdk.SharedAccessKeyAuthenticationProvider.fromConnectionString(
    options.connectionString,
    validSecs,
    marginSecs,
  );
  provider.on('newTokenAvailable', () => tell({ event: 'renewed' }));
  return kind.fromAuthenticationProvider(provider, transport);
}

function seen(message: sdk.Message): SdkMessage {
  const list = message.properties.propertyList as { key: string; value: string }[];
  const known = Object.entries({
    messageId: message.messageId,
    contentType: message.contentType,
    contentEncoding: message.contentEncoding,
    correlationId: message.correlationId,
  }).filter(([, value]) => value !== undefined && value !== '');
  return {
    body: (message.getData() as Buffer).toString(),
    properties: Object.fromEntries(list.map(({ key, value }) => [key, value])),
    ...(Object.fromEntries(known) as Partial<SdkMessage>),
  };
}

function made({ body, properties, ...known }: SdkMessage): sdk.Message {
  const message = new sdk.Message(body);
  // The SDK's own fields; those that were not given stay as they are.
  Object.assign(message, known);
  for (const [key, value] of Object.entries(properties)) message.properties.add(key, value);
  return message;
}

function promised(act: (done: (error?: Error) => void) => void): Promise<null> {
  return new Promise((resolve, reject) => act((error) => (error ? reject(error) : resolve(null))));
}

/** Before anything that connects, and listening does. */
let prepared: Promise<unknown> | null = null;
function prepare(): Promise<unknown> {
  prepared ??= client.setOptions({ ca: options.ca, ...options.x509 });
  return prepared;
}

const acts: { [K in keyof SdkOrders]: (order: SdkOrders[K]['order']) => Promise<SdkOrders[K]['answer']> } = {
  open: async () => {
    await prepare();
    await client.open();
    return null;
  },
  close: async () => {
    await client.close();
    return null;
  },
  send: async ({ message, output }) => {
    if (output !== undefined && client instanceof sdk.ModuleClient) await client.sendOutputEvent(output, made(message));
    else await client.sendEvent(made(message));
    return null;
  },
  twin: async () => {
    const first = twin === null;
    twin = await client.getTwin();
    if (first) twin.on('properties.desired', (delta: unknown) => tell({ event: 'desired', delta }));
    const { desired, reported } = twin.properties;
    // `update` is the SDK's function beside the reported values; JSON leaves it out.
    return { desired, reported };
  },
  report: async ({ patch }) => {
    const { reported } = (twin ?? (await client.getTwin())).properties;
    const update = reported['update'] as (patch: unknown, done: (error?: Error) => void) => void;
    return promised((done) => update(patch, done));
  },
  method: ({ name, status }) => {
    const answer = (request?: DeviceMethodRequest, response?: DeviceMethodResponse): void => {
      tell({ event: 'called', name: request!.methodName, payload: request!.payload as unknown });
      response!.send(status, { heard: request!.payload as unknown }).catch((error: unknown) => {
        tell({ event: 'error', why: words(error) });
      });
    };
    if (client instanceof sdk.ModuleClient) client.onMethod(name, answer);
    else client.onDeviceMethod(name, answer);
    return Promise.resolve(null);
  },
  receive: async () => {
    await prepare();
    client.on(client instanceof sdk.ModuleClient ? 'inputMessage' : 'message', (...words_: unknown[]) => {
      const message = words_.at(-1) as sdk.Message;
      const input = words_.length > 1 ? (words_[0] as string) : null;
      tell({ event: 'message', input, message: seen(message) });
      void client.complete(message);
    });
    return null;
  },
  invoke: async ({ device, module, name, payload, timeoutSecs }) => {
    if (!(client instanceof sdk.ModuleClient)) throw new Error('only a module client invokes');
    const call = {
      methodName: name,
      payload,
      connectTimeoutInSeconds: timeoutSecs,
      responseTimeoutInSeconds: timeoutSecs,
    };
    return module === undefined ? client.invokeMethod(device, call) : client.invokeMethod(device, module, call);
  },
};

async function obey(line: string): Promise<void> {
  const { n, order, ...rest } = JSON.parse(line) as { n: number; order: keyof SdkOrders };
  try {
    tell({ n, answer: await (acts[order] as (order: object) => Promise<unknown>)(rest) });
  } catch (error) {
    tell({ n, error: words(error) });
  }
}

client.on('error', (error: unknown) => tell({ event: 'error', why: words(error) }));
client.on('disconnect', (result: { transportObj?: unknown }) => {
  tell({ event: 'disconnect', why: words(result.transportObj ?? result) });
});
createInterface({ input: process.stdin })
  .on('line', (line) => void obey(line))
  // Nobody listens any more.
  .on('close', () => process.exit(0));
