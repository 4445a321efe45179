import type { Clock } from '../clock/clock.ts';
import { EVERY_REGISTRY, gatewayIn } from '../dialects/holdfast-operator.ts';
import { keyTopic, registryTopic, rfc3339 } from '../dialects/holdfast.ts';
import { DocumentRefused, openDocument, sealDocument, type RegistryDocument } from '../registry/document.ts';
import type { Auth, Identity, ModuleIdentity } from '../registry/identity.ts';
import { publicOf, type PublicJwk } from '../registry/jwk.ts';
import type { Broker } from './broker.ts';
import { addition, additions, moduleAddition, removal, rotation, statusChange } from './children-edits.ts';
import type { Children, Edit } from './children-edits.ts';
import { FleetError } from './fleet-error.ts';
import { GatewayWatch } from './gateway-watch.ts';
import { mustBeId } from './id.ts';
import type { OperatorFolder } from './operator-folder.ts';
import { registryReport } from './registry-report.ts';
import { changeRetained } from './retained-change.ts';

/** How long a gateway that is online may take to say what it made of a document, seconds. */
export const CHILDREN_WAIT_SECS = 20;
/** The same where it had refused the one before: it says nothing new when it refuses this for the same reason. */
const SAME_REFUSAL_SECS = 5;

export interface ChildrenWait {
  /** Take a gateway's key though it had another before. */
  readonly acceptNewKey?: boolean | undefined;
  /** Go on from a document that our signing key has not signed. */
  readonly acceptUnsigned?: boolean | undefined;
  /** False: do not wait for the gateway, resolve when the broker has the document. */
  readonly wait?: boolean | undefined;
  readonly waitSecs?: number | undefined;
}

/**
 * What became of a change. `applied`: the gateway has it; `refused`: it does not take it, see `why`; `offline`: it will when it
 * returns; `silent`: it is online, and did not say in time; `published`: nobody waited.
 */
export interface ChildrenOutcome {
  readonly state: 'applied' | 'refused' | 'offline' | 'silent' | 'published';
  readonly version: number;
  readonly why: string | null;
  /** Children of the document that the gateway does not take, each for itself. */
  readonly refused: readonly { readonly id: string; readonly why: string }[];
  /** Other gateways whose children could not be looked at: a child may be enabled there, too. */
  readonly unseen: readonly string[];
}

interface Change {
  readonly gateway: string;
  readonly options: ChildrenWait;
  readonly edit: Edit;
  /** They must not be enabled elsewhere. */
  readonly enabled?: readonly string[];
  /** What there was counts no more, and need not be readable. */
  readonly replace?: boolean;
}

/**
 * Children of gateways, which are what the registry document says: each change reads the retained one, makes the next version of
 * it, seals it to the gateway and to the operators, and publishes it. All methods reject with a {@link FleetError}.
 */
export class FleetChildren {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #folder: OperatorFolder;

  constructor(broker: Broker, clock: Clock, folder: OperatorFolder) {
    this.#broker = broker;
    this.#clock = clock;
    this.#folder = folder;
  }

  /** The document with its secrets; null: there is none. */
  async get(gateway: string, { acceptUnsigned = false }: ChildrenWait = {}): Promise<RegistryDocument | null> {
    const body = (await this.#broker.retained([registryTopic(mustBeId(gateway))])).get(registryTopic(gateway));
    return body === undefined ? null : this.#open(gateway, body, acceptUnsigned);
  }

  /** Refuses one that is there, and one that is enabled under another gateway. */
  add(gateway: string, child: Identity, options: ChildrenWait = {}): Promise<ChildrenOutcome> {
    const enabled = child.status === 'enabled' ? [child.id] : [];
    return this.#change({ gateway, options, enabled, edit: addition(child) });
  }

  /** Several at once, in one version. With `replace` they are all that there shall be. */
  addAll(
    gateway: string,
    children: Children,
    { replace = false, ...options }: ChildrenWait & { readonly replace?: boolean | undefined } = {},
  ): Promise<ChildrenOutcome> {
    const enabled = children.filter(({ status }) => status === 'enabled').map(({ id }) => id);
    return this.#change({ gateway, options, enabled, replace, edit: additions(children, replace) });
  }

  addModule(
    gateway: string,
    child: string,
    module: ModuleIdentity,
    options: ChildrenWait = {},
  ): Promise<ChildrenOutcome> {
    return this.#change({ gateway, options, edit: moduleAddition(child, module) });
  }

  /** A child with its modules, or one module; who is connected as it is cut off. */
  remove(gateway: string, child: string, module: string | null, options: ChildrenWait = {}): Promise<ChildrenOutcome> {
    return this.#change({ gateway, options, edit: removal(child, module) });
  }

  /** A disabled child is cut off, and keeps its credentials. */
  setStatus(
    gateway: string,
    child: string,
    status: Identity['status'],
    options: ChildrenWait = {},
  ): Promise<ChildrenOutcome> {
    const enabled = status === 'enabled' ? [child] : [];
    return this.#change({ gateway, options, enabled, edit: statusChange(child, status) });
  }

  /** Makes a new primary key; the one before goes on as the secondary, or with `both` neither does. */
  async rotateKey(
    gateway: string,
    child: string,
    { module = null, both = false, ...options }: ChildrenWait & RotateOptions = {},
  ): Promise<{ readonly auth: Auth; readonly outcome: ChildrenOutcome }> {
    const edit = rotation(child, module, both);
    const outcome = await this.#change({ gateway, options, edit });
    return { auth: edit.made(), outcome };
  }

  async #change({ gateway, options, edit, enabled = [], replace = false }: Change): Promise<ChildrenOutcome> {
    const { acceptNewKey = false, acceptUnsigned = false, wait = true, waitSecs = CHILDREN_WAIT_SECS } = options;
    mustBeId(gateway);
    const watching = GatewayWatch.start(this.#broker, gateway);
    try {
      const [unseen, key, watch] = await Promise.all([
        enabled.length === 0 ? [] : this.#mustBeFree(gateway, enabled, acceptUnsigned),
        this.#gatewayKey(gateway, acceptNewKey),
        watching,
      ]);
      const recipients = [key, ...this.#operators()];
      const signing = this.#folder.signingKey() ?? undefined;
      let reported = watch.now.reported;
      const version = await changeRetained(this.#broker, this.#clock, {
        topic: registryTopic(gateway),
        make: async (before, again) => {
          const document = await this.#before(gateway, before, acceptUnsigned, replace);
          const next = 1 + Math.max(document.version, registryReport(watch.now.reported)?.version ?? 0);
          const there = again && edit.done(document.children);
          const children = there ? document.children : edit.apply(document.children);
          const issuedAt = rfc3339(this.#clock.wall());
          const body = await this.#seal({ version: next, issuedAt, children: [...children] }, recipients, signing);
          reported = watch.now.reported;
          return { body, result: next };
        },
        holds: async (body) => edit.done((await this.#before(gateway, body, acceptUnsigned, replace)).children),
      });
      if (!wait) return { state: 'published', version, why: null, refused: [], unseen };
      return { ...(await this.#answer(watch, version, reported, waitSecs)), version, unseen };
    } finally {
      await watching.then(
        (watch) => watch.stop(),
        () => undefined,
      );
    }
  }

  async #answer(
    watch: GatewayWatch,
    version: number,
    before: GatewayWatch['now']['reported'],
    secs: number,
  ): Promise<Pick<ChildrenOutcome, 'state' | 'why' | 'refused'>> {
    const refusing = (registryReport(before)?.error ?? null) !== null;
    const answer = await watch.until(
      (reported) => {
        const report = registryReport(reported);
        if (report === null) return null;
        const { refused, error } = report;
        if (report.version >= version) return { state: 'applied' as const, why: null, refused };
        // An error that was there before is not about this document.
        return reported !== before && error !== null ? { state: 'refused' as const, why: error, refused } : null;
      },
      Math.min(secs, refusing ? SAME_REFUSAL_SECS : Infinity),
    );
    if (answer !== null) return answer;
    if (!watch.online) return { state: 'offline', why: null, refused: [] };
    const why = registryReport(watch.now.reported)?.error ?? null;
    return { state: why === null ? 'silent' : 'refused', why, refused: [] };
  }

  async #gatewayKey(gateway: string, acceptNew: boolean): Promise<PublicJwk> {
    const topic = keyTopic(gateway);
    const body = (await this.#broker.retained([topic])).get(topic);
    if (body === undefined) {
      throw new FleetError(
        `${gateway} has no key at ${this.#broker.url} (${topic}): it was never online there, or may not publish it`,
      );
    }
    return this.#folder.gatewayKey(gateway, body, acceptNew);
  }

  #operators(): PublicJwk[] {
    const own = publicOf(this.#folder.operatorKey());
    return [own, ...this.#folder.others().filter(({ kid }) => kid !== own.kid)];
  }

  async #before(gateway: string, body: Buffer | null, acceptUnsigned: boolean, replace: boolean) {
    const nothing = { version: 0, children: [] as Children };
    if (body === null) return nothing;
    try {
      return await this.#open(gateway, body, acceptUnsigned || replace);
    } catch (error) {
      // The gateway's own word says which version is next, then.
      if (replace && error instanceof FleetError) return nothing;
      throw error;
    }
  }

  async #seal(
    document: RegistryDocument,
    recipients: readonly PublicJwk[],
    signing: Parameters<typeof sealDocument>[2],
  ) {
    try {
      return await sealDocument(document, recipients, signing);
    } catch (error) {
      throw error instanceof DocumentRefused
        ? new FleetError(`the children cannot be sealed: ${error.message}`)
        : error;
    }
  }

  async #open(gateway: string, body: Buffer, acceptUnsigned: boolean): Promise<RegistryDocument> {
    const key = this.#folder.operatorKey();
    const signing = this.#folder.signingKey();
    let document: RegistryDocument;
    try {
      ({ document } = await openDocument(body, key, null));
    } catch (error) {
      if (!(error instanceof DocumentRefused)) throw error;
      const why = error.message.replaceAll('the key of this gateway', 'your key');
      throw new FleetError(
        `the registry document of ${gateway} cannot be opened: ${why}. Use the folder that it was made with (--folder),` +
          ` or have its operator add your public key (\`holdfast fleet key\`), or say anew who all its children are with:` +
          ` holdfast fleet children import FILE --replace --gateway ${gateway}`,
      );
    }
    if (signing === null || acceptUnsigned) return document;
    try {
      await openDocument(body, key, publicOf(signing));
    } catch (error) {
      if (!(error instanceof DocumentRefused)) throw error;
      throw new FleetError(
        `the registry document of ${gateway} is not signed by your signing key (${signing.kid}): it was made before there was` +
          ' one, or by somebody else. Look at it, and go on from it, with --accept-unsigned',
      );
    }
    return document;
  }

  /** Resolves with the gateways whose children could not be looked at. */
  async #mustBeFree(gateway: string, ids: readonly string[], acceptUnsigned: boolean): Promise<string[]> {
    const unseen: string[] = [];
    const wanted = new Set(ids);
    for (const [topic, body] of await this.#broker.retained([EVERY_REGISTRY])) {
      const other = gatewayIn(topic);
      if (other === gateway) continue;
      let children: Children;
      try {
        ({ children } = await this.#open(other, body, acceptUnsigned));
      } catch (error) {
        if (!(error instanceof FleetError)) throw error;
        unseen.push(other);
        continue;
      }
      const taken = children.filter(({ id, status }) => status === 'enabled' && wanted.has(id)).map(({ id }) => id);
      if (taken.length > 0) {
        throw new FleetError(
          `${taken.join(', ')} ${taken.length === 1 ? 'is' : 'are'} enabled under ${other}: disable or remove there first`,
        );
      }
    }
    return unseen.sort();
  }
}

export interface RotateOptions {
  readonly module?: string | null | undefined;
  readonly both?: boolean | undefined;
}
