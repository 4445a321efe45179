import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { commandMessage } from '../commands/command-message.ts';
import type { Commands, CommandResult } from '../commands/commands.ts';
import type { Config } from '../config/schema.ts';
import type { ToChild } from '../dialects/child-dialect.ts';
import { holdfastChild } from '../dialects/holdfast-child.ts';
import { iothubChild } from '../dialects/iothub.ts';
import { ulidText } from '../message/ulid.ts';
import type { Message, Reading, Source } from '../message/message.ts';
import type { Enrolment } from '../registry/enrolment.ts';
import { Twins, type TwinFault, type TwinView } from '../twins/twins.ts';
import type { Client } from './gatekeeper.ts';
import { Hub, type Presence } from './hub.ts';
import type { Address, ListenOptions } from './listeners.ts';
import { methodsListener } from './methods-https.ts';
import type { Services } from './services.ts';
import type { TLSSocket } from 'node:tls';

/** Where a bare port listens. */
const EVERYWHERE = '::';
const CHAIN_MAX = 8;

export interface FrontOptions {
  readonly config: Config;
  readonly enrolment: Enrolment;
  readonly commands: Commands;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long the gateway has been accountable, ms. */
  readonly age: () => number;
  /** Resolves when it is durable. */
  readonly event: (source: Source, reading: Reading) => Promise<void>;
}

/** The hub with all that stands behind it: the registry's doorkeeper, twins, commands and the router. */
export class Front {
  readonly twins: Twins;
  readonly #hub: Hub;
  readonly #options: FrontOptions;

  constructor(options: FrontOptions) {
    const { config, enrolment, commands, clock, log, age } = options;
    this.#options = options;
    const { hub } = config;
    if (hub === undefined) throw new Error('there is no hub in the configuration');
    const gateway = config.gateway.id;
    const gatekeeper = enrolment.gatekeeper();
    const certificates = enrolment.certificates();
    this.twins = new Twins({
      store: enrolment.store,
      changed: ({ child, module, side, version, patch }) => {
        if (side === 'desired') this.#hub.desired(child, module, version, patch);
      },
    });
    const services = this.#services();
    this.#hub = new Hub({
      gateway,
      listen: {
        ...places(hub.listen),
        certificate: certificates.current,
        onRequest: methodsListener(
          {
            gatekeeper,
            hubName: hub.iothubName ?? hub.hostName,
            services: {
              invoke: async (_, child, module, method, body, secs) => this.#invoke(child, module, method, body, secs),
            },
          },
          ({ socket }) => chainOf(socket as TLSSocket),
        ),
      },
      limits: { clientsMax: hub.maxConnectedClients },
      gatekeeper,
      services,
      dialects: { iothub: iothubChild(gateway), holdfast: holdfastChild(gateway) },
      store: enrolment.store,
      clock,
      age,
      log,
    });
    certificates.onRenewed((certificate) => this.#hub.setCertificate(certificate));
    commands.seekAmong(this.#hub);
  }

  start(): Promise<void> {
    return this.#hub.start();
  }

  stop(): Promise<void> {
    return this.#hub.stop();
  }

  clients(): readonly Presence[] {
    return this.#hub.clients();
  }

  /** Children that may connect, and their modules as `child/module`. */
  ids(): string[] {
    const { registry } = this.#options.enrolment;
    return registry.all().flatMap(({ id, modules }) => [id, ...modules.map((module) => `${id}/${module.id}`)]);
  }

  get refused() {
    return this.#hub.refused;
  }

  observe(message: Message): void {
    this.#hub.observe(message);
  }

  /** What a route leads to a connected child. Rejects when there is no room for it. */
  input(child: string, input: string, message: Message): Promise<void> {
    const { source, body, contentType, contentEncoding, properties = {}, id } = message;
    return this.#hub.deliver(
      child,
      null,
      { input },
      {
        body,
        ...(contentType === undefined ? {} : { contentType }),
        ...(contentEncoding === undefined ? {} : { contentEncoding }),
        properties,
        messageId: ulidText(id),
        from: { child: source.child, ...(source.module === undefined ? {} : { module: source.module }) },
      },
      message.expiresAfterSecs ?? null,
    );
  }

  #services(): Services {
    return {
      event: ({ child }, event) => {
        const { module, output, body, contentType, contentEncoding, properties, eventTime } = event;
        const source = { child, ...(module === null ? {} : { module }), ...(output === null ? {} : { output }) };
        return this.#options.event(source, {
          body,
          properties,
          ...(contentType === undefined ? {} : { contentType }),
          ...(contentEncoding === undefined ? {} : { contentEncoding }),
          ...(eventTime === undefined ? {} : { eventTime }),
        });
      },
      hasRoom: () => true,
      twinGet: ({ child, module }) => Promise.resolve(this.twins.read(child, module)),
      twinPatch: ({ child, module }, body) => this.twins.report(child, module, body),
      invoke: (_, child, module, method, body, secs) => this.#invoke(child, module, method, body, secs),
      send: (client, child, message) => this.#send(client, child, message),
      present: () => undefined,
    };
  }

  async #invoke(
    child: string,
    module: string | null,
    method: string,
    body: Buffer,
    secs: number | null,
  ): Promise<{ status: number; payload: Buffer; failed?: true }> {
    let payload: unknown;
    try {
      payload = body.length === 0 ? null : JSON.parse(body.toString('utf8'));
    } catch (error) {
      return { status: 400, payload: Buffer.from(JSON.stringify({ error: (error as Error).message })), failed: true };
    }
    const who = module === null ? child : `${child}/${module}`;
    const result: CommandResult = await this.#options.commands.invoke(who, method, payload, secs ?? undefined);
    const { status, failed } = result;
    const bytes = Buffer.from(result.payload === undefined ? '' : JSON.stringify(result.payload));
    return { status, payload: bytes, ...(failed === true ? { failed } : {}) };
  }

  async #send(client: Client, child: string, message: ToChild): Promise<void> {
    const made = commandMessage({ ...message, properties: message.properties ?? {} }, this.#options.clock);
    if ('refused' in made) throw new Error(made.refused);
    const { expiresAfterSecs } = made;
    await this.#hub.deliver(child, null, 'command', message, expiresAfterSecs);
    this.#options.log.debug({ child, from: client.child }, 'a message waits for a child');
  }
}

function places(listen: NonNullable<Config['hub']>['listen']): Pick<ListenOptions, 'mqtts' | 'wss' | 'https' | 'mqtt'> {
  const place = (address: { host: string | null; port: number } | undefined): Address | undefined =>
    address && { host: address.host ?? EVERYWHERE, port: address.port };
  return {
    mqtts: place(listen.mqtts),
    wss: place(listen.wss),
    https: place(listen.https),
    mqtt: place(listen.mqtt),
  };
}

/** DER, leaf first. */
function chainOf(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let next = socket.getPeerCertificate?.(true);
  while (next?.raw !== undefined && chain.length < CHAIN_MAX && !chain.some((each) => each.equals(next.raw))) {
    chain.push(next.raw);
    next = next.issuerCertificate;
  }
  return chain;
}

export type { TwinFault, TwinView };
