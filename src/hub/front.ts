import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { Commands } from '../commands/commands.ts';
import type { Config, HubConfig } from '../config/schema.ts';
import { holdfastChild } from '../dialects/holdfast-child.ts';
import { iothubChild } from '../dialects/iothub.ts';
import type { ToChild } from '../dialects/child-dialect.ts';
import type { Message } from '../message/message.ts';
import type { Enrolment } from '../registry/enrolment.ts';
import type { TwinChange, Twins } from '../twins/twins.ts';
import { Hub, type Presence } from './hub.ts';
import { LIMITS, type HubLimits } from './limits.ts';
import type { Address, ListenOptions } from './listeners.ts';
import { methodsListener } from './methods-https.ts';
import type { Below } from './services.ts';
import { Switchboard, toChild, type SwitchboardOptions } from './switchboard.ts';

/** Where a bare port listens. */
const EVERYWHERE = '::';
const CHAIN_MAX = 8;
/** How many seconds' worth of connections may come at once. */
const BURST_SECS = 10;
/** Full mailboxes that are named in the status. */
const FULL_NAMED_MAX = 100;

export interface FrontOptions {
  readonly config: Config;
  readonly enrolment: Enrolment;
  readonly twins: Twins;
  readonly commands: Commands;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long the gateway has been accountable, ms. */
  readonly age: () => number;
  readonly accept: SwitchboardOptions['accept'];
  readonly hasRoom: SwitchboardOptions['hasRoom'];
  readonly tooLarge: SwitchboardOptions['tooLarge'];
  readonly noticesWanted: SwitchboardOptions['noticesWanted'];
  /** Takes care of gateways below us. `open` is told what there is, before anybody is let in. */
  readonly below?: (Below & { open(house: BelowHouse): void }) | undefined;
}

/** What there is to serve gateways below us with. */
export interface BelowHouse {
  readonly registry: Pick<Enrolment['registry'], 'all' | 'find' | 'onRevoked' | 'onRemoved'>;
  readonly store: Enrolment['store'];
  readonly hub: Pick<Hub, 'deliver' | 'tell'>;
}

/** How the hub is doing, for `status`. */
export interface HubStatus {
  readonly ports: { readonly [protocol: string]: number };
  readonly connected: number;
  /** Those that may connect, modules included. */
  readonly registered: number;
  /** What was refused since the start, by what it was. */
  readonly refused: { readonly [what: string]: number };
  /** Messages that wait for children, and those let go since the start. */
  readonly queued: number;
  readonly dropped: number;
  /** How many mailboxes have no room for more, and the first of them, by name. */
  readonly fullCount: number;
  readonly full: readonly FullMailbox[];
}

/** A mailbox that has no room for more. */
export interface FullMailbox {
  /** `child`, or `child/module`. */
  readonly child: string;
  readonly connected: boolean;
  /** Messages that wait in it, and those that found no room, since the start. */
  readonly queued: number;
  readonly overflow: number;
}

/** A child that connects, as `list` shows it. */
export interface ConnectedChild {
  readonly id: string;
  readonly type: 'child';
  readonly kind: 'connected';
  readonly state: 'connected' | 'absent' | 'disabled';
  readonly since: number;
  readonly readings: number;
  readonly malformed: number;
  readonly restarts: number;
  readonly lastReadingAt: number | null;
  /** When it was last heard, wall ms; null: not since the gateway started. */
  readonly lastSeenAt: number | null;
  readonly lastError: string | null;
  readonly retryInMs: number | null;
}

/** The hub with all that stands behind it: the registry's doorkeeper, twins, commands and the router. */
export class Front {
  readonly #hub: Hub;
  readonly #hearing: readonly (() => void)[];
  readonly #switchboard: Switchboard;
  readonly #options: FrontOptions;
  readonly #startedAt: number;

  constructor(options: FrontOptions) {
    const { config, enrolment, commands, clock, log, age } = options;
    this.#options = options;
    const { hub } = config;
    if (hub === undefined) throw new Error('there is no hub in the configuration');
    const gateway = config.gateway.id;
    this.#startedAt = clock.wall();
    const gatekeeper = enrolment.gatekeeper();
    const certificates = enrolment.certificates();
    const wired = new Set(config.children.flatMap(({ id, connected }) => (connected === undefined ? id : [])));
    this.#switchboard = new Switchboard({
      gateway,
      clock,
      commands,
      twins: options.twins,
      hub: () => this.#hub,
      accept: options.accept,
      hasRoom: options.hasRoom,
      tooLarge: options.tooLarge,
      isWired: (child) => wired.has(child),
      isRegistered: (child, module) => {
        const found = enrolment.registry.find(child);
        return found !== undefined && (module === null || found.modules.some(({ id }) => id === module));
      },
      noticesWanted: options.noticesWanted,
      below: options.below,
    });
    this.#hub = new Hub({
      gateway,
      listen: {
        ...places(hub.listen),
        certificate: certificates.current,
        onRequest: methodsListener(
          {
            gatekeeper,
            hubName: hub.iothubName ?? hub.hostName,
            services: this.#switchboard,
          },
          ({ socket }) => chainOf(socket as TLSSocket),
        ),
      },
      limits: limitsOf(hub),
      gatekeeper,
      services: this.#switchboard,
      dialects: { iothub: iothubChild(gateway), holdfast: holdfastChild(gateway) },
      store: enrolment.store,
      clock,
      age,
      log,
      settled: (child, _, message, fate) => this.#switchboard.settled(child, message, fate),
    });
    // Whoever is gone for good leaves nothing behind.
    const removed = enrolment.registry.onRemoved((child, module) => {
      this.#hub.forget(child, module);
      options.twins.forget(child, module).catch((error: unknown) => log.error({ err: error, child }, 'its twin stays'));
    });
    const { registry, store } = enrolment;
    options.below?.open({ registry, store, hub: this.#hub });
    const renewed = certificates.onRenewed((certificate) => this.#hub.setCertificate(certificate));
    this.#hearing = [removed, renewed];
    commands.seekAmong(this.#hub);
  }

  /** Takes up limits; who may come, and what each may do, the enrolment has taken up before. */
  configure({ hub }: Config): void {
    if (hub !== undefined) this.#hub.setLimits(limitsOf(hub));
    this.#hub.reconsider();
  }

  start(): Promise<void> {
    return this.#hub.start();
  }

  /** Also after a start that failed: until then it hears who is removed. */
  stop(): Promise<void> {
    for (const end of this.#hearing) end();
    return this.#hub.stop();
  }

  status(): HubStatus {
    const clients = this.#hub.clients();
    const registered = this.#options.enrolment.registry.all();
    const full = clients.filter((client) => client.full).map(fullMailbox);
    return {
      ports: this.#hub.ports,
      connected: clients.filter(({ connected }) => connected).length,
      registered: registered.reduce((sum, { modules }) => sum + 1 + modules.length, 0),
      refused: this.#hub.refused,
      queued: clients.reduce((sum, { queued }) => sum + queued, 0),
      dropped: clients.reduce((sum, { dropped }) => sum + dropped, 0),
      fullCount: full.length,
      full: full.toSorted((a, b) => (a.child < b.child ? -1 : 1)).slice(0, FULL_NAMED_MAX),
    };
  }

  /** Children that may connect, and their modules as `child/module`. */
  children(): ConnectedChild[] {
    const clients = new Map(this.#hub.clients().map((client) => [nameOf(client.child, client.module), client]));
    return this.#options.enrolment.registry.all().flatMap(({ id, status, modules }) =>
      [null, ...modules.map((module) => module.id)].map((module) => {
        const client = clients.get(nameOf(id, module));
        return {
          id: nameOf(id, module),
          type: 'child' as const,
          kind: 'connected' as const,
          state: status === 'disabled' ? 'disabled' : client?.connected === true ? 'connected' : 'absent',
          since: client?.since ?? this.#startedAt,
          readings: client?.in ?? 0,
          malformed: client?.refused ?? 0,
          restarts: 0,
          lastReadingAt: null,
          lastSeenAt: client?.seenAt ?? null,
          lastError: null,
          retryInMs: null,
        };
      }),
    );
  }

  /** Whether it is a child that may connect, or one of its modules. */
  has(child: string, module: string | null): boolean {
    const found = this.#options.enrolment.registry.find(child);
    return found !== undefined && (module === null || found.modules.some(({ id }) => id === module));
  }

  /** A twin has changed: its child is told, and routes. */
  twinChanged(change: TwinChange): void {
    this.#switchboard.twinChanged(change);
  }

  /** Queues a message from above. Resolves when it is durable; rejects with a `MailboxFull` when there is no room for it. */
  queue(child: string, module: string | null, message: ToChild, expiresAfterSecs: number): Promise<void> {
    return this.#hub.deliver(child, module, 'command', message, expiresAfterSecs);
  }

  observe(message: Message): void {
    this.#hub.observe(message);
  }

  /** What a route leads to a connected child. Rejects when there is no room for it. */
  input(child: string, input: string, message: Message): Promise<void> {
    return this.#deliver(child, null, input, message);
  }

  /** The same to a module of a connected child: of each that has one of that name. */
  async moduleInput(module: string, input: string, message: Message): Promise<void> {
    const lower = module.toLowerCase();
    const deliveries = this.#options.enrolment.registry.all().flatMap(({ id, modules }) => {
      const own = modules.find((each) => each.id.toLowerCase() === lower);
      return own === undefined ? [] : [this.#deliver(id, own.id, input, message)];
    });
    // All at once: one that has no room, or waits for the medium, is no reason for the others to go without.
    await Promise.all(deliveries);
  }

  #deliver(child: string, module: string | null, input: string, message: Message): Promise<void> {
    return this.#hub.deliver(child, module, { input }, toChild(message), message.expiresAfterSecs ?? null);
  }
}

export function limitsOf({ maxConnectedClients, limits }: HubConfig): HubLimits {
  return {
    ...LIMITS,
    clientsMax: maxConnectedClients,
    connectionsPerSec: limits.connectionsPerSec,
    connectionsBurst: limits.connectionsPerSec * BURST_SECS,
    messagesPerSec: limits.messagesPerSec,
    bytesPerSec: limits.bytesPerSec,
    subscriptionsMax: limits.subscriptions,
    queuedMax: limits.queuedMessages,
    queuedBytesMax: limits.queuedBytes,
  };
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
  for (let next = socket.getPeerCertificate?.(true); next?.raw !== undefined; next = next.issuerCertificate) {
    const { raw } = next;
    if (chain.length === CHAIN_MAX || chain.some((each) => each.equals(raw))) break;
    chain.push(raw);
  }
  return chain;
}

function fullMailbox({ child, module, connected, queued, overflow }: Presence): FullMailbox {
  return { child: nameOf(child, module), connected, queued, overflow };
}

function nameOf(child: string, module: string | null): string {
  return module === null ? child : `${child}/${module}`;
}
