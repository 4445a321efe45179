import { LANE_UNSPECIFIED, type Message, type Source } from '../message/message.ts';
import { MessageView } from './message-view.ts';
import { lets, sinkKey, type NamedRoute } from './route.ts';

/** Sources, and children, whose routes are remembered. More than this, and they are sought again. */
const SOURCES_MAX = 1000;

/** An application property may have this name, and then it is what conditions see. */
const CHILD = '$connectionDeviceId';

/** The module of the gateway that tells of changes of twins, as in IoT Edge. */
export const HUB_MODULE = '$edgeHub';
const NOTICES = '/twinChangeNotifications/';

/** Where a message comes from, as routes name it. All drivers and devices are `/messages/`. */
export function sourceText({ module, output }: Source): string {
  if (module === undefined) return '/messages/';
  if (module === HUB_MODULE) return NOTICES;
  return output === undefined ? `/messages/modules/${module}/` : `/messages/modules/${module}/outputs/${output}/`;
}

/** All routes, found by where a message comes from. */
export class RouteTable {
  /** Best first; of those of one priority in the order in which they were written. */
  readonly #routes: readonly RankedRoute[];
  readonly #children: SourceRoutes;
  readonly #ofSource = new Map<string, SourceRoutes>();

  constructor(routes: readonly NamedRoute[]) {
    const sinks = new Map<string, number>();
    const numberOf = (key: string): number => {
      const known = sinks.get(key) ?? sinks.size;
      sinks.set(key, known);
      return known;
    };
    this.#routes = routes
      .map((named) => ({ named, sink: numberOf(sinkKey(named.route.sink)) }))
      .toSorted((a, b) => rank(a.named) - rank(b.named));
    this.#children = this.#from('/messages/');
  }

  /**
   * The routes that a message takes: one for each sink, the best of those that lead there. Takes time in proportion to the routes
   * of its source.
   */
  taken(message: Message): readonly NamedRoute[] {
    const { routes, always, ofChild } =
      message.source.module === undefined ? this.#children : this.#sourced(message.source);
    if (always !== null) return always;
    const view = new MessageView(message);
    if (ofChild === null || view.property(CHILD, CHILD.toLowerCase()) !== undefined) return bestOf(routes, view);
    const { child } = message.source;
    let own = ofChild.get(child);
    if (own === undefined) {
      own = routes.filter(({ named }) => [null, child].includes(named.route.onlyChild));
      if (ofChild.size >= SOURCES_MAX) ofChild.clear();
      ofChild.set(child, own);
    }
    return bestOf(own, view);
  }

  /** Whether there is a route for changes of twins. */
  get takesNotices(): boolean {
    return this.#sourced({ child: '', module: HUB_MODULE }).routes.length > 0;
  }

  #sourced(source: Source): SourceRoutes {
    const text = sourceText(source).toLowerCase();
    let routes = this.#ofSource.get(text);
    if (routes === undefined) {
      routes = this.#from(text);
      if (this.#ofSource.size >= SOURCES_MAX) this.#ofSource.clear();
      this.#ofSource.set(text, routes);
    }
    return routes;
  }

  #from(source: string): SourceRoutes {
    const routes = this.#routes.filter(({ named }) => source.startsWith(named.route.source.prefix));
    const conditional = routes.some(({ named }) => named.route.evaluate !== null);
    const named = routes.some(({ named: { route } }) => route.onlyChild !== null);
    return { routes, always: conditional ? null : bestOf(routes, null), ofChild: named ? new Map() : null };
  }
}

interface SourceRoutes {
  readonly routes: readonly RankedRoute[];
  /** What every message takes; null when that depends on it. */
  readonly always: readonly NamedRoute[] | null;
  /** Those routes that do not ask for another child, by child, as they were needed; null when none asks for any. */
  readonly ofChild: Map<string, readonly RankedRoute[]> | null;
}

/** The first route to each sink that lets the message through. Null: no route has a condition. */
function bestOf(routes: readonly RankedRoute[], view: MessageView | null): NamedRoute[] {
  const taken: NamedRoute[] = [];
  const sinks = new Set<number>();
  for (const { named, sink } of routes) {
    if (sinks.has(sink) || (view !== null && !lets(named.route, view))) continue;
    sinks.add(sink);
    taken.push(named);
  }
  return taken;
}

interface RankedRoute {
  readonly named: NamedRoute;
  /** Same number, same sink. */
  readonly sink: number;
}

function rank({ priority }: NamedRoute): number {
  return priority ?? LANE_UNSPECIFIED;
}
