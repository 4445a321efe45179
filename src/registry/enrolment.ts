import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import { KEEP } from '../config/registry.ts';
import type { Config } from '../config/schema.ts';
import { Doorkeeper, type Policy } from './admission.ts';
import { Attempts } from './attempts.ts';
import { gatewayKey, type GatewayKey } from './gateway-key.ts';
import { jwkFile, publicJwkIn, type PublicJwk } from './jwk.ts';
import { KnownTime, type KnownTimeStore } from './known-time.ts';
import { Passwords } from './password.ts';
import { Registry, type ConfiguredChildren, type Grants } from './registry.ts';
import { SealedStore, type SealedMedium } from './sealed-store.ts';
import { Certificates } from './server-certificate.ts';
import { syncStatus, type SyncStatus } from './sync.ts';
import { Trust } from './trust.ts';

export interface EnrolmentOptions {
  readonly config: Config;
  /** The state environment. */
  readonly medium: SealedMedium & KnownTimeStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** When this program was built, wall ms. */
  readonly builtAt?: number | undefined;
  /** Left out: made from `medium` and `builtAt`. */
  readonly time?: KnownTime;
  /** `$CREDENTIALS_DIRECTORY` when left out. */
  readonly credentialsDir?: string | undefined;
}

/** Where the gateway keeps keys. */
export function keysDir(config: Config): string {
  return join(config.gateway.dataDir, 'keys');
}

/** Whose signature a registry document must have; null: nobody's. Throws a JwkError when the file cannot be used. */
export function trustedKey({ registry }: Config): PublicJwk | null {
  const { trust } = registry;
  return trust === undefined ? null : jwkFile(trust, (value) => publicJwkIn(value, 'sig'));
}

/** All that decides who may connect, put together: what the hub and the command line need of `registry/`. */
export class Enrolment {
  readonly store: SealedStore;
  readonly registry: Registry;
  readonly time: KnownTime;
  readonly #options: EnrolmentOptions;
  #config: Config;
  #policy: Policy | null = null;
  #certificates: Certificates | null = null;

  private constructor(options: EnrolmentOptions, store: SealedStore) {
    const { config, medium, clock, log, builtAt } = options;
    this.#options = options;
    this.#config = config;
    this.store = store;
    this.registry = new Registry(store, configuredChildren(config), log);
    this.time = options.time ?? new KnownTime(clock, medium, builtAt ?? 0);
  }

  /** Opens what is kept. Throws a SealError when the key is not there or is another one: nothing was changed then. */
  static async open(options: EnrolmentOptions): Promise<Enrolment> {
    const { config, medium, credentialsDir } = options;
    return new Enrolment(options, await SealedStore.open(medium, keysDir(config), credentialsDir));
  }

  /** Keeps the time. */
  start(): void {
    this.time.start();
  }

  /** Resolves when nothing is being written any more. */
  async stop(): Promise<void> {
    this.time.stop();
    this.#certificates?.stop();
    await this.store.settled();
  }

  /** Takes up who may come in, and what each may do; nobody who is in is cut off by it. Certificates are looked at again. */
  configure(config: Config): void {
    this.#config = config;
    this.#policy = null;
    this.#certificates?.look();
    this.registry.configure(configuredChildren(config));
  }

  /** What registry documents are encrypted to; made when it is not there. Throws a JwkError when it cannot be used. */
  gatewayKey(): GatewayKey {
    const { gatewayKey: named } = this.#config.registry;
    return gatewayKey(keysDir(this.#config), named === KEEP ? undefined : named);
  }

  /** Whose signature a registry document must have; null: nobody's. Throws a JwkError when the file cannot be used. */
  trustedKey(): PublicJwk | null {
    return trustedKey(this.#config);
  }

  /** The last registry document that was taken; null: none ever was. */
  syncStatus(): SyncStatus | null {
    const { synced } = this.registry;
    return synced === null ? null : syncStatus(synced);
  }

  get hasHub(): boolean {
    return this.#config.hub !== undefined;
  }

  /** Who judges those that want in. Only with a hub. */
  gatekeeper(): Doorkeeper {
    const { clock, log } = this.#options;
    const hub = this.#hub();
    return new Doorkeeper({
      registry: this.registry,
      hubNames: [hub.iothubName ?? hub.hostName, hub.hostName].map((name) => name.toLowerCase()),
      policy: () => (this.#policy ??= this.#newPolicy()),
      time: this.time,
      passwords: new Passwords(() => clock.monotonic()),
      attempts: new Attempts(clock, log),
    });
  }

  /** The hub's TLS certificate; made when it is not there, and looked after from then on. Only with a hub. Throws when it cannot be. */
  certificates(): Certificates {
    this.#certificates ??= this.#newCertificates();
    return this.#certificates;
  }

  #newPolicy(): Policy {
    const { tokenExpiry, clientCa, revoked } = this.#hub();
    return { tokenExpiry, trust: new Trust(clientCa, revoked, this.#options.log) };
  }

  #newCertificates(): Certificates {
    const { clock, log } = this.#options;
    const config = this.#config;
    const { hostName, cert, key } = this.#hub();
    const certificates = new Certificates({
      keysDir: keysDir(config),
      gateway: config.gateway.id,
      hostName,
      files: cert === undefined || key === undefined ? null : { cert, key },
      addresses: ownAddresses,
      clock,
      time: this.time,
      log,
    });
    certificates.start();
    return certificates;
  }

  #hub() {
    const { hub } = this.#config;
    if (hub === undefined) throw new Error('there is no hub in the configuration');
    return hub;
  }
}

function configuredChildren(config: Config): ConfiguredChildren {
  const connected = new Map<string, Grants>();
  const taken = [config.gateway.id];
  for (const { id, connected: connects, grants = [] } of config.children) {
    if (connects === undefined) taken.push(id);
    else {
      connected.set(id, {
        invoke: grants.flatMap(({ invoke }) => invoke ?? []),
        send: grants.flatMap(({ send }) => send ?? []),
        observe: grants.flatMap(({ observe }) => observe ?? []),
      });
    }
  }
  return { taken, connected };
}

/** The addresses of this machine that others can use; those that mean something on one link only are not among them. */
function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .filter(({ internal, address }) => !internal && !/^fe[89ab]/i.test(address))
    .map(({ address }) => address);
}
