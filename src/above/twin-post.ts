import type { Logger } from 'pino';
import type { Clock } from '../clock/clock.ts';
import type { FromAbove, UpPublication, UpstreamDialect } from '../dialects/upstream-dialect.ts';
import { difference, isObject, merged, type JsonObject } from '../twins/patch.ts';
import type { TwinChange, Twins } from '../twins/twins.ts';

/** Reported properties that may be on their way at once. */
const UNDER_WAY_MAX = 16;
/** A broker that refuses them is told of once in so long, ms. */
const SAID_EVERY_MS = 60_000;
/** How long the answer to a question about our own twin may take, ms. */
const ANSWER_MS_MAX = 10_000;
const FIRST_FAILURE = 0x80;

export interface TwinPostOptions {
  readonly gateway: string;
  readonly dialect: UpstreamDialect;
  /** Rejects while they cannot be opened. */
  readonly twins: () => Promise<Pick<Twins, 'read' | 'replaceDesired' | 'ids'>>;
  /** Whether it is the gateway, a child of ours or one of its modules. */
  readonly isOurs: (child: string, module: string | null) => boolean;
  /** The gateway's own desired properties, or those of its module `$edgeHub`, are these now. */
  readonly own: (module: string | null, desired: JsonObject, version: number) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Reported properties that went up; `gone`: there are none any more. */
interface Posted {
  readonly name: string;
  readonly gone: boolean;
}

type Publish = (publication: UpPublication, done?: (reason: number) => void) => void;

/**
 * Twins between here and above. Desired properties are decided above: a document of a version that was not had from there yet takes the
 * place of what is here, also of what was set here meanwhile. Reported properties are the child's: they go up whole after each
 * change, and all of them when the broker has lost our session.
 */
export class TwinPost {
  readonly #options: TwinPostOptions;
  #publish: Publish | null = null;
  /** Those whose reported properties are to be published, by name; true: it has none any more. */
  readonly #waiting = new Map<string, boolean>();
  /** By request. */
  readonly #underWay = new Map<string, Posted>();
  /** Those that were refused, as in `#waiting`; tried again over the next connection: rights and quotas change. */
  readonly #refused = new Map<string, boolean>();
  /** The gateway's own reported properties as they are known above; null: not known. */
  #ownAbove: JsonObject | null = null;
  /** Nothing has been published since the program was started: nobody knows what was before. */
  #fresh = true;
  #requests = 0;
  #asking: { readonly requestId: string; readonly done: () => void } | null = null;
  #saidAt = -Infinity;

  constructor(options: TwinPostOptions) {
    this.#options = options;
  }

  /** A twin has changed here. */
  changed({ child, module, side }: TwinChange): void {
    if (side === 'reported') this.#due(nameOf(child, module), false);
  }

  /** A child or a module is no longer ours. */
  forgotten(child: string, module: string | null): void {
    this.#due(nameOf(child, module), true);
  }

  /** There is a connection. `kept`: what was published over an earlier one is known above. Resolves when our own twin is known here. */
  async connected(publish: Publish, kept: boolean): Promise<void> {
    this.#publish = publish;
    for (const { name, gone } of this.#underWay.values()) this.#refused.set(name, gone);
    for (const [name, gone] of this.#refused) this.#waiting.set(name, this.#waiting.get(name) ?? gone);
    this.#underWay.clear();
    this.#refused.clear();
    await this.#ask();
    if (!kept || this.#fresh) {
      const twins = await this.#options.twins();
      for (const name of twins.ids()) this.#waiting.set(name, this.#waiting.get(name) ?? false);
      this.#fresh = false;
    }
    this.#post();
  }

  lost(): void {
    this.#publish = null;
    this.#asking?.done();
  }

  /** Rejects when it should be tried again. */
  async received(from: FromAbove & { kind: 'desired' | 'desired patch' | 'twin' | 'reported answer' }): Promise<void> {
    if (from.kind === 'desired') return this.#desired(from.child, from.module, from.body);
    if (from.kind === 'desired patch') return this.#patched(from.version, from.body);
    if (from.kind === 'reported answer') return this.#answered(from.requestId, from.status);
    if (from.requestId !== this.#asking?.requestId) return;
    try {
      if (from.status < 300) await this.#ownTwin(from.body);
      else this.#say(`our own twin cannot be had: status ${from.status}`);
    } finally {
      this.#asking?.done();
    }
  }

  async #desired(child: string, module: string | null, body: Buffer): Promise<void> {
    if (body.length === 0 || !this.#options.isOurs(child, module)) return;
    const document = jsonObject(body);
    const version = document?.['$version'];
    if (document === null || typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1)
      return this.#say(`the desired properties of ${nameOf(child, module)} are no JSON object with a $version`);
    await this.#replaced(child, module, document, version);
  }

  /** For the gateway itself. One that does not follow on what is here has us ask for the whole. */
  async #patched(version: number, body: Buffer): Promise<void> {
    const { gateway, twins } = this.#options;
    const patch = jsonObject(body);
    if (patch === null) return this.#say('a change of our desired properties is no JSON object');
    const { desired } = (await twins()).read(gateway, null);
    const before = desired['$version'];
    if (typeof before === 'number' && version <= before) return;
    if (before !== version - 1) {
      void this.#ask();
      return;
    }
    await this.#replaced(gateway, null, merged(bare(desired), bare(patch)), version);
  }

  async #replaced(child: string, module: string | null, document: JsonObject, version: number): Promise<void> {
    const { gateway, twins, own } = this.#options;
    const kept = await twins();
    const done = await kept.replaceDesired(child, module, bare(document), version);
    if ('errorCode' in done) {
      if (done.status >= 500) throw new Error(done.message);
      return this.#say(`the desired properties of ${nameOf(child, module)} are not taken: ${done.message}`);
    }
    if (child === gateway) await own(module, bare(kept.read(child, module).desired), version);
  }

  async #ownTwin(body: Buffer): Promise<void> {
    const { gateway } = this.#options;
    const twin = jsonObject(body);
    const desired = twin?.['desired'];
    const reported = twin?.['reported'];
    if (!isObject(desired) || !isObject(reported)) return this.#say('our own twin is not {desired, reported}');
    this.#ownAbove = bare(reported);
    this.#due(gateway, false);
    const version = desired['$version'];
    if (typeof version === 'number') await this.#replaced(gateway, null, desired, version);
  }

  /** Asks for our own twin where it does not come by itself. Resolves when it is here, or will not come. */
  #ask(): Promise<void> {
    const requestId = this.#nextRequest();
    const publication = this.#options.dialect.twinGet(requestId);
    if (publication === null || this.#publish === null) return Promise.resolve();
    const publish = this.#publish;
    return new Promise((resolve) => {
      const deadline = this.#options.clock.after(ANSWER_MS_MAX, () => this.#asking?.done());
      this.#asking = {
        requestId,
        done: () => {
          deadline.cancel();
          this.#asking = null;
          resolve();
        },
      };
      publish(publication);
    });
  }

  #due(name: string, gone: boolean): void {
    this.#waiting.set(name, gone);
    this.#post();
  }

  #post(): void {
    const publish = this.#publish;
    if (publish === null || this.#waiting.size === 0) return;
    this.#options.twins().then(
      (twins) => {
        for (const [name, gone] of this.#waiting) {
          if (this.#underWay.size >= UNDER_WAY_MAX || this.#publish !== publish) return;
          // Its turn comes again when what is on its way has arrived.
          if ([...this.#underWay.values()].some((posted) => posted.name === name)) continue;
          this.#waiting.delete(name);
          this.#send(publish, name, gone ? null : twins.read(...namedBy(name)).reported);
        }
      },
      // They cannot be opened: then none has changed either.
      () => undefined,
    );
  }

  #send(publish: Publish, name: string, document: JsonObject | null): void {
    const { dialect, gateway } = this.#options;
    const [child, module] = namedBy(name);
    const known = name === gateway ? this.#ownAbove : null;
    const patch = document === null || known === null ? null : difference(known, bare(document));
    const requestId = this.#nextRequest();
    const publication = dialect.reported({ child, module, document, patch }, requestId);
    if (publication === null) return;
    this.#underWay.set(requestId, { name, gone: document === null });
    if (name === gateway && document !== null) this.#ownAbove = bare(document);
    publish(publication, (reason) => {
      if (publication.qos !== 0) this.#answered(requestId, reason < FIRST_FAILURE ? 200 : 500);
    });
  }

  #answered(requestId: string, status: number): void {
    if (requestId === this.#asking?.requestId) {
      this.#say(`our own twin cannot be had: status ${status}`);
      this.#asking.done();
      return;
    }
    const posted = this.#underWay.get(requestId);
    if (posted === undefined) return;
    this.#underWay.delete(requestId);
    if (status < 300) this.#refused.delete(posted.name);
    else {
      this.#refused.set(posted.name, posted.gone);
      this.#say(`the reported properties of ${posted.name} are refused above: ${status}`);
    }
    this.#post();
  }

  #nextRequest(): string {
    this.#requests = (this.#requests % 1_000_000) + 1;
    return String(this.#requests);
  }

  #say(what: string): void {
    const { clock, log } = this.#options;
    if (clock.monotonic() < this.#saidAt + SAID_EVERY_MS) return;
    this.#saidAt = clock.monotonic();
    log.warn(what);
  }
}

/** Without what the protocol puts in: `$version`, `$metadata`. */
function bare(document: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(document).filter(([name]) => !name.startsWith('$')));
}

function jsonObject(body: Buffer): JsonObject | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function nameOf(child: string, module: string | null): string {
  return module === null ? child : `${child}/${module}`;
}

function namedBy(name: string): [child: string, module: string | null] {
  const slash = name.indexOf('/');
  return slash < 0 ? [name, null] : [name.slice(0, slash), name.slice(slash + 1)];
}
