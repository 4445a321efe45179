import type { Clock } from '../clock/clock.ts';
import { desiredTopic, reportedTopic } from '../dialects/holdfast-operator.ts';
import { patchFrom, SIZE_MAX, sizeOf } from '../twins/limits.ts';
import { emptyObject, isObject, merged, same, type JsonObject } from '../twins/patch.ts';
import type { Broker } from './broker.ts';
import { FleetError } from './fleet-error.ts';
import { objectIn } from './gateway-view.ts';
import { mustBeId } from './id.ts';
import { changeRetained } from './retained-change.ts';

/** Whose twin: of a child, a module of one, or the gateway itself, which is the child of its own name. */
export interface TwinOf {
  readonly gateway: string;
  readonly child: string;
  readonly module?: string | undefined;
}

/** Both sides of a twin, each with its `$version`; null: nothing is retained. */
export interface FleetTwin {
  readonly desired: JsonObject | null;
  readonly reported: JsonObject | null;
}

export interface TwinChange {
  /** What is not in the patch is deleted. */
  readonly replace?: boolean | undefined;
}

/** The twins of a fleet, as the broker retains them. */
export class FleetTwins {
  readonly #broker: Broker;
  readonly #clock: Clock;

  constructor(broker: Broker, clock: Clock) {
    this.#broker = broker;
    this.#clock = clock;
  }

  async get(of: TwinOf): Promise<FleetTwin> {
    const { gateway, child, module } = checked(of);
    const [desired, reported] = [desiredTopic, reportedTopic].map((topic) => topic(gateway, child, module ?? null)) as [
      string,
      string,
    ];
    const found = await this.#broker.retained([desired, reported]);
    const document = (topic: string) => (found.has(topic) ? objectIn(found.get(topic)) : null);
    return { desired: document(desired), reported: document(reported) };
  }

  /**
   * Merges a patch into the desired properties (RFC 7396: null deletes). Their `$version` goes above the retained one, and above
   * the one that the gateway says it has of its own. Where none is retained of a child that has reported, they may be lost, and the
   * gateway takes none that is not above what it had: then it begins with the seconds since 1970. Resolves when the broker
   * retains them.
   */
  async set(of: TwinOf, patch: unknown, { replace = false }: TwinChange = {}): Promise<JsonObject> {
    const wanted = patchFrom(patch);
    if (typeof wanted === 'string') throw new FleetError(wanted);
    const { gateway, child, module } = checked(of);
    const { reported } = await this.get(of);
    const topic = desiredTopic(gateway, child, module ?? null);
    const next = (body: Buffer | null) => {
      const { $version, ...own } = body === null ? emptyObject() : documentIn(body, topic);
      return { own, $version, properties: merged(replace ? emptyObject() : own, wanted) };
    };
    return changeRetained(this.#broker, this.#clock, {
      topic,
      make: (before) => {
        const { $version, properties } = next(before);
        const size = sizeOf(properties);
        if (size > SIZE_MAX)
          throw new FleetError(`the properties would have a size of ${size}; they may have ${SIZE_MAX}`);
        const above = before === null ? this.#unseenVersion(reported) : whole($version);
        const body = Buffer.from(
          JSON.stringify({ ...properties, $version: Math.max(above, settingsVersion(reported) ?? 0) + 1 }),
          'utf8',
        );
        return Promise.resolve({ body, result: objectIn(body) });
      },
      holds: (body) => {
        const { own, properties } = next(body);
        return Promise.resolve(same(own, properties));
      },
    });
  }

  /** At least the version that the gateway may have had, where nobody remembers it. */
  #unseenVersion(reported: JsonObject | null): number {
    return reported === null || settingsVersion(reported) !== null ? 0 : Math.floor(this.#clock.wall() / 1000);
  }
}

/** Throws a {@link FleetError} for what would be other topics than are meant. */
export function checked(of: TwinOf): TwinOf {
  for (const id of [of.gateway, of.child, of.module]) if (id !== undefined) mustBeId(id);
  return of;
}

/** What cannot be read is not overwritten. */
function documentIn(body: Buffer, topic: string): JsonObject {
  const document = objectIn(body);
  if (Object.keys(document).length === 0 && body.toString('utf8').trim() !== '{}')
    throw new FleetError(`what is retained at ${topic} is no JSON object: clear it, or see who writes there`);
  return document;
}

/** The gateway itself names in `settings` the version that it has taken up, 0 for none; null: it is no gateway's. */
function settingsVersion(reported: JsonObject | null): number | null {
  const settings = reported?.['settings'];
  return isObject(settings) ? whole(settings['version']) : null;
}

function whole(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}
