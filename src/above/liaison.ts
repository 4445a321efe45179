import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type {
  DownPublication,
  FromAbove,
  Stage,
  Subscription,
  UpPublication,
  UpstreamDialect,
} from '../dialects/upstream-dialect.ts';
import type { JsonObject } from '../twins/patch.ts';
import type { Twins } from '../twins/twins.ts';
import type { Errands } from './errands.ts';
import { Inbox } from './inbox.ts';
import type { Reason, Rejection } from './rejections.ts';
import { TwinPost } from './twin-post.ts';

/** IoT Edge's name of the module that stands for the hub itself. */
const EDGE_HUB = '$edgeHub';

/** After a child was added here, so long until its desired properties are asked for, ms: others may be added with it. */
const NEWCOMERS_MS = 1000;

/** Children that were refused in a registry document, of whom above is told by name. */
const REFUSED_MAX = 20;

/** A connection to the broker above, for what goes up besides messages. */
export interface Line {
  publish(publication: UpPublication, done?: (reason: number) => void): void;
  subscribe(filters: readonly string[], qos: 0 | 1): Promise<void>;
}

/** Takes the registry document; see registrar.ts. */
export interface RegistryDesk {
  /** Rejects when it could not be kept, and should come again. */
  receive(body: Buffer): Promise<void>;
  /** For the gateway's reported properties; null: nothing has come yet. */
  report(): {
    readonly version: number | null;
    readonly refused: readonly unknown[];
    readonly error: string | null;
  } | null;
  /** Calls `listener` when a child has been added here. */
  onAdded(listener: () => void): void;
}

/** Takes the gateway's own desired properties; see settings.ts. */
export interface SettingsDesk {
  /** Rejects when they could not be kept, and should come again. */
  receive(desired: JsonObject, version: number, speaker: 'gateway' | '$edgeHub'): Promise<void>;
  report(): object | null;
}

/** What can be had only once what is sealed is open. */
export interface Opened {
  readonly twins: Pick<Twins, 'read' | 'replaceDesired' | 'report' | 'ids'>;
  readonly registry: RegistryDesk | null;
  /** The gateway's public key, a JWK. */
  readonly key: Buffer | null;
}

/** Takes care of gateways below us; see relay.ts. */
export interface BelowDesk {
  /** What is asked for on their behalf. */
  subscriptions(): readonly Subscription[];
  connected(line: Line, kept: boolean): void;
  lost(): void;
  /** Resolves when it need not come again: null, or a command that is refused for good. */
  receive(gateway: string, publication: DownPublication): Promise<Rejection | null>;
}

/** What came of commands from above, for `status`. */
export interface CommandsStatus {
  /** Those that were refused for good since the start, by reason. */
  readonly refused: Readonly<Record<Reason, number>>;
}

export interface LiaisonOptions {
  readonly gateway: string;
  readonly version: string;
  readonly dialect: UpstreamDialect;
  /** Rejects while it cannot be opened; then it is asked again. */
  readonly open: () => Promise<Opened>;
  readonly settings: SettingsDesk | null;
  readonly isOurs: (child: string, module: string | null) => boolean;
  readonly errands: Errands;
  /** Gateways below us; null: there are none. */
  readonly below: BelowDesk | null;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Keeps in touch with above, besides messages: takes the registry document, desired properties, commands and methods in their order
 * of business, and publishes the gateway's key, reported properties and answers.
 */
export class Liaison {
  readonly twinPost: TwinPost;
  readonly #options: LiaisonOptions;
  readonly #inbox: Inbox;
  #line: Line | null = null;
  /** The broker has kept our session since all was said over one. */
  #kept = true;
  #stopping = false;
  #hearsOfNewcomers = false;
  #newcomers: Timer | null = null;
  #unknown = 0;
  /** The registry document that came last: it takes the place of those before, also where one of them is tried again. */
  #document: Buffer | null = null;

  constructor(options: LiaisonOptions) {
    const { gateway, dialect, clock, log, isOurs } = options;
    this.#options = options;
    this.#inbox = new Inbox(clock, log);
    this.twinPost = new TwinPost({
      gateway,
      dialect,
      clock,
      log,
      isOurs,
      twins: async () => (await options.open()).twins,
      own: (module, desired, version) => this.#settings(module, desired, version),
    });
  }

  /** As the connection is to speak it: with what is asked for on behalf of gateways below us. */
  get dialect(): UpstreamDialect {
    const { dialect, below } = this.#options;
    if (below === null) return dialect;
    return { ...dialect, subscriptions: () => [...dialect.subscriptions(), ...below.subscriptions()] };
  }

  connected(line: Line, kept: boolean): void {
    this.#line = line;
    // A connection that ends before all is said leaves the broker a session that brings nothing.
    this.#kept &&= kept;
    this.#inbox.begin();
  }

  asked(stage: Stage): void {
    const line = this.#line;
    if (stage === 'twins' && line !== null) {
      const said = this.#greet(line, this.#kept).catch((error: unknown) => {
        // What is sealed is shut before the connection ends.
        if (!this.#stopping) this.#options.log.error(`above is not told of our twins: ${(error as Error).message}`);
      });
      this.#inbox.hold('twins', said);
      this.#options.below?.connected(line, this.#kept);
    }
    this.#inbox.asked(stage);
  }

  /** The gateway is stopping: what cannot be said or taken any more is no fault. */
  stop(): void {
    this.#stopping = true;
    this.#newcomers?.cancel();
    this.#inbox.stop();
    this.#options.errands.rejections.stop();
  }

  status(): CommandsStatus {
    return { refused: this.#options.errands.rejections.counts };
  }

  lost(): void {
    this.#line = null;
    this.#inbox.begin();
    this.twinPost.lost();
    this.#options.below?.lost();
  }

  heard(publication: DownPublication, stored: () => void): void {
    const from = this.#options.dialect.heard(publication);
    switch (from.kind) {
      case 'registry':
        this.#document = from.body;
        this.#inbox.put('registry', () => this.#registry(from.body), stored);
        return;
      case 'twin':
      case 'reported answer':
        // Others wait for it: it cannot wait itself.
        stored();
        this.#inbox.put(
          'registry',
          () => this.twinPost.received(from),
          () => undefined,
        );
        return;
      case 'desired':
      case 'desired patch':
        this.#inbox.put('twins', () => this.twinPost.received(from), stored);
        return;
      case 'command':
        this.#inbox.put('commands', () => this.#options.errands.message(from), stored);
        return;
      case 'method':
        stored();
        this.#inbox.put(
          'commands',
          () => this.#method(from),
          () => undefined,
        );
        return;
      case 'below':
        this.#below(from.gateway, publication, stored);
        return;
      case 'nothing':
        this.#notUnderstood(publication.topic, from.why);
        stored();
    }
  }

  oversized(topic: string, bytes: number): void {
    this.#options.log.error(
      `what came on ${topic} is not read: it has ${bytes} bytes, more than anything of ours may have`,
    );
  }

  async #registry(body: Buffer): Promise<void> {
    const { registry } = await this.#options.open();
    if (body !== this.#document) return;
    const before = registry?.report();
    try {
      await registry?.receive(body);
    } catch (error) {
      // Not each time that it is tried again.
      if (registry?.report()?.error !== before?.error) await this.#reportOwn();
      throw error;
    }
    await this.#reportOwn();
    // What was desired of children that were not ours yet has gone by: asked for again, it comes again.
    if (registry?.report()?.version !== before?.version) this.#askAgain('twins');
  }

  async #settings(module: string | null, desired: JsonObject, version: number): Promise<void> {
    if (module !== null && module !== EDGE_HUB) return;
    await this.#options.settings?.receive(desired, version, module === null ? 'gateway' : EDGE_HUB);
    await this.#reportOwn();
  }

  /** What the gateway says of itself is its reported properties. */
  async #reportOwn(): Promise<void> {
    const { gateway, version, log, open, settings } = this.#options;
    const { twins, registry } = await open();
    const report = registry?.report() ?? null;
    // A twin has 32 KB: some names, and how many.
    const registryReport = report && {
      ...report,
      refused: report.refused.slice(0, REFUSED_MAX),
      refusedCount: report.refused.length,
    };
    const patch = { holdfast: { version }, registry: registryReport, settings: settings?.report() ?? null };
    const done = await twins.report(gateway, null, Buffer.from(JSON.stringify(patch)));
    if ('errorCode' in done) log.warn(`what the gateway reports of itself is not kept: ${done.message}`);
  }

  /** Says who we are, and what has changed here meanwhile. Resolves when our own twin has come, where it has to be asked for. */
  async #greet(line: Line, kept: boolean): Promise<void> {
    const { key, registry } = await this.#options.open();
    if (!this.#hearsOfNewcomers) registry?.onAdded(() => this.#newcomer());
    this.#hearsOfNewcomers = registry !== null;
    const publication = key === null ? null : this.#options.dialect.key(key);
    if (publication !== null) line.publish(publication);
    await this.#reportOwn();
    await this.twinPost.connected((publication, done) => line.publish(publication, done), kept);
    if (this.#line === line) this.#kept = true;
  }

  /** What was desired of it before it was ours has gone by. */
  #newcomer(): void {
    this.#newcomers ??= this.#options.clock.after(NEWCOMERS_MS, () => {
      this.#newcomers = null;
      this.#askAgain('twins');
    });
  }

  #askAgain(stage: Stage): void {
    const line = this.#line;
    for (const wanted of this.dialect.subscriptions()) {
      // That it was refused has been said.
      if (wanted.stage === stage) line?.subscribe(wanted.filters, wanted.qos).catch(() => undefined);
    }
  }

  async #method(request: FromAbove & { kind: 'method' }): Promise<void> {
    const line = this.#line;
    // Not awaited: methods do not wait for each other.
    void this.#options.errands.method(request).then((answer) => {
      if (answer === null || this.#line !== line) return;
      line?.publish(this.#options.dialect.methodResponse(request, answer.status, answer.payload));
    });
  }

  #below(gateway: string, publication: DownPublication, stored: () => void): void {
    const { below } = this.#options;
    if (below === null) {
      this.#notUnderstood(publication.topic, 'there are no gateways below us');
      stored();
      return;
    }
    const act = async () => {
      const rejection = await below.receive(gateway, publication);
      if (rejection !== null) this.#options.errands.rejections.add(rejection);
    };
    this.#inbox.put('registry', act, stored);
  }

  #notUnderstood(topic: string, why: string): void {
    this.#unknown++;
    this.#options.log.debug({ topic, count: this.#unknown }, `something from above is not understood: ${why}`);
  }
}
