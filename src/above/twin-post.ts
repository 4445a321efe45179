import type { Logger } from 'pino';
import type { Clock, Timer } from '../clock/clock.ts';
import type { FromAbove, UpPublication, UpstreamDialect } from '../dialects/upstream-dialect.ts';
import { difference, isObject, merged, type JsonObject } from '../twins/patch.ts';
import type { TwinChange, Twins, TwinView } from '../twins/twins.ts';
import { readJson } from '../message/json.ts';

/** Reported properties that may be on their way at once. */
const UNDER_WAY_MAX = 16;
/** A broker that refuses them is told of once in so long, ms. */
const SAID_EVERY_MS = 60_000;
/** How long an answer about our own twin may take, ms: question and answer travel at QoS 0, and either may be lost. */
const ANSWER_MS_MAX = 10_000;
/** When our own twin could not be had, or not changed for now, it is asked for again after this, ms. */
const ASK_AGAIN_MS = 10_000;
/** What was refused is tried again after this, then after twice as long each time, ms: it may be refused for good, and costs traffic. */
const AGAIN_MS_MIN = 60_000;
const AGAIN_MS_MAX = 3_600_000;
const FIRST_FAILURE = 0x80;
/** Statuses of answers: refused, and from here on worth another try. */
const REFUSED = 300;
const TOO_MANY = 429;
const BROKEN = 500;

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
  /** By then an answer must have come, where it is no acknowledgement. */
  readonly deadline: Timer | null;
}

/** Our own desired properties as they are above, for as long as a connection lasts. */
interface Above {
  readonly version: number;
  readonly properties: JsonObject;
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
  /** Those that were refused, all tried again over the next connection: rights and quotas change. `forNow`: also after a while. */
  readonly #refused = new Map<string, { readonly gone: boolean; readonly forNow: boolean }>();
  #again: Timer | null = null;
  #againMs = AGAIN_MS_MIN;
  /** The gateway's own reported properties as they are known above; null: not known. */
  #ownAbove: JsonObject | null = null;
  /** Nothing has been published since the program was started: nobody knows what was before. */
  #fresh = true;
  #requests = 0;
  #asking: { readonly requestId: string; readonly answer: Promise<void>; readonly done: () => void } | null = null;
  #askingLater: Timer | null = null;
  /** Null: not known over this connection. What is here may be another version: it can be changed here, too. */
  #desiredAbove: Above | null = null;
  /** The latest version that we heard of. */
  #desiredHeard = 0;
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
    // Questions of an earlier connection have no answers in this one.
    this.#asking?.done();
    for (const { name, gone, deadline } of this.#underWay.values()) {
      deadline?.cancel();
      this.#refused.set(name, { gone, forNow: true });
    }
    this.#againMs = AGAIN_MS_MIN;
    this.#takeRefused(() => true);
    this.#underWay.clear();
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
    this.#desiredAbove = null;
    this.#desiredHeard = 0;
    this.#askingLater?.cancel();
    this.#askingLater = null;
    this.#again?.cancel();
    this.#again = null;
    for (const { deadline } of this.#underWay.values()) deadline?.cancel();
    this.#asking?.done();
  }

  /** Rejects when it should be tried again. */
  async received(from: FromAbove & { kind: 'desired' | 'desired patch' | 'twin' | 'reported answer' }): Promise<void> {
    if (from.kind === 'desired') return this.#desired(from.child, from.module, from.body);
    if (from.kind === 'desired patch') return this.#patched(from.version, from.body);
    if (from.kind === 'reported answer') return this.#answered(from.requestId, from.status);
    if (from.requestId !== this.#asking?.requestId) return;
    const asking = this.#asking;
    try {
      await this.#ownTwin(from.body);
    } finally {
      asking?.done();
    }
    if ((this.#desiredAbove?.version ?? 0) < this.#desiredHeard) this.#askLater();
  }

  async #desired(child: string, module: string | null, body: Buffer): Promise<void> {
    if (body.length === 0 || !this.#options.isOurs(child, module)) return;
    const document = jsonObject(body);
    const version = document?.['$version'];
    if (document === null || typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1)
      return this.#say(`the desired properties of ${nameOf(child, module)} are no JSON object with a $version`);
    await this.#replaced(child, module, document, version);
  }

  /** For the gateway itself. One that does not follow on what is known above has us ask for the whole. */
  async #patched(version: number, body: Buffer): Promise<void> {
    const { gateway } = this.#options;
    const patch = jsonObject(body);
    if (patch === null) return this.#say('a change of our desired properties is no JSON object');
    this.#desiredHeard = Math.max(this.#desiredHeard, version);
    const before = this.#desiredAbove;
    if (before !== null && version <= before.version) return;
    if (before === null || version !== before.version + 1) {
      void this.#ask();
      return;
    }
    const above = { version, properties: merged(before.properties, bare(patch)) };
    this.#desiredAbove = above;
    try {
      await this.#replaced(gateway, null, above.properties, version);
    } catch (error) {
      // It comes again, and then has nothing to follow on.
      if (this.#desiredAbove === above) this.#desiredAbove = null;
      throw error;
    }
  }

  async #replaced(child: string, module: string | null, document: JsonObject, version: number): Promise<void> {
    const { gateway, twins, own } = this.#options;
    const kept = await twins();
    const done = await kept.replaceDesired(child, module, bare(document), version);
    if ('errorCode' in done) {
      // One that is damaged stays so: unacknowledged, it would hold up all that comes from above behind it.
      const readable = typeof readIn(kept, child, module) !== 'string';
      if ((done.status === TOO_MANY || done.status >= BROKEN) && readable) throw new Error(done.message);
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
    if (typeof version !== 'number' || version < (this.#desiredAbove?.version ?? 0)) return;
    const above = { version, properties: bare(desired) };
    this.#desiredAbove = above;
    try {
      await this.#replaced(gateway, null, desired, version);
    } catch (error) {
      // The answer counts once: it has to be had anew.
      if (this.#desiredAbove === above) this.#desiredAbove = null;
      this.#askLater();
      throw error;
    }
  }

  /** Asks for our own twin where it does not come by itself. Resolves when it is here, or will not come. One question at a time. */
  #ask(): Promise<void> {
    if (this.#asking !== null) return this.#asking.answer;
    const requestId = this.#nextRequest();
    const publication = this.#options.dialect.twinGet(requestId);
    const publish = this.#publish;
    if (publication === null || publish === null) return Promise.resolve();
    let resolve = () => {};
    const answer = new Promise<void>((done) => (resolve = done));
    const deadline = this.#options.clock.after(ANSWER_MS_MAX, () => {
      this.#asking?.done();
      this.#askLater();
    });
    const done = () => {
      deadline.cancel();
      if (this.#asking?.requestId === requestId) this.#asking = null;
      resolve();
    };
    this.#asking = { requestId, answer, done };
    publish(publication);
    return answer;
  }

  #askLater(): void {
    if (this.#publish === null) return;
    this.#askingLater ??= this.#options.clock.after(ASK_AGAIN_MS, () => {
      this.#askingLater = null;
      void this.#ask();
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
          const twin = gone ? null : readIn(twins, ...namedBy(name));
          if (typeof twin === 'string') this.#say(`the reported properties of ${name} cannot be read: ${twin}`);
          else this.#send(publish, name, twin?.reported ?? null);
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
    const late = () => this.#answered(requestId, BROKEN);
    const deadline = publication.qos === 0 ? this.#options.clock.after(ANSWER_MS_MAX, late) : null;
    this.#underWay.set(requestId, { name, gone: document === null, deadline });
    if (name === gateway && document !== null) this.#ownAbove = bare(document);
    publish(publication, (reason) => {
      if (publication.qos !== 0) this.#answered(requestId, reason < FIRST_FAILURE ? 200 : BROKEN);
    });
  }

  #answered(requestId: string, status: number): void {
    if (requestId === this.#asking?.requestId) {
      this.#say(`our own twin cannot be had: status ${status}`);
      this.#asking.done();
      this.#askLater();
      return;
    }
    const posted = this.#underWay.get(requestId);
    if (posted === undefined) return;
    const { name, gone, deadline } = posted;
    this.#underWay.delete(requestId);
    deadline?.cancel();
    const forNow = status === TOO_MANY || status >= BROKEN;
    if (status < REFUSED) {
      this.#refused.delete(name);
      if (![...this.#refused.values()].some((refused) => refused.forNow)) this.#againMs = AGAIN_MS_MIN;
    } else {
      this.#refused.set(name, { gone, forNow });
      this.#say(`the reported properties of ${name} are refused above: ${status}`);
      // What is known there is not what we sent: the next change goes up whole, or against what it says itself.
      if (name === this.#options.gateway) this.#ownAbove = null;
      if (forNow) {
        this.#askLater();
        this.#tryLater();
      }
    }
    this.#post();
  }

  #takeRefused(which: (refused: { readonly forNow: boolean }) => boolean): void {
    for (const [name, refused] of this.#refused) {
      if (!which(refused)) continue;
      this.#waiting.set(name, this.#waiting.get(name) ?? refused.gone);
      this.#refused.delete(name);
    }
  }

  #tryLater(): void {
    this.#again ??= this.#options.clock.after(this.#againMs, () => {
      this.#again = null;
      this.#againMs = Math.min(2 * this.#againMs, AGAIN_MS_MAX);
      this.#takeRefused(({ forNow }) => forNow);
      this.#post();
    });
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

/** A twin, or why it cannot be read: its record may be damaged, or of a newer release. */
function readIn(twins: Pick<Twins, 'read'>, child: string, module: string | null): TwinView | string {
  try {
    return twins.read(child, module);
  } catch (error) {
    return (error as Error).message;
  }
}

/** Without what the protocol puts in: `$version`, `$metadata`. */
function bare(document: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(document).filter(([name]) => !name.startsWith('$')));
}

function jsonObject(body: Buffer): JsonObject | null {
  try {
    const value = readJson(body.toString('utf8'));
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
