import { QueryProblem } from '../query/problem.ts';
import { readRoute, type Route } from '../router/route.ts';
import { asMapping, type YamlDocument } from './document.ts';
import { nearest } from '../query/nearest.ts';
import { pathText, type Path, type Problem } from './problem.ts';
import { show } from './values.ts';

/** What a route may lead to and come from. */
interface Named {
  readonly modules: readonly string[];
  readonly children: readonly string[];
  /** With a hub there may be children, and modules of theirs, that this file does not name. */
  readonly hub: boolean;
}

/**
 * What is wrong with the routes of a file: their text, and sinks that lead to nobody. Works on unchecked data, so that it never comes second
 * to other problems.
 */
export function routeProblems(document: YamlDocument, root: unknown): Problem[] {
  const named = namesIn(root);
  return writtenRoutes(root).flatMap(({ path, text }): Problem[] => {
    try {
      const route = readRoute(text);
      const wrong = named.hub ? null : strayedSink(route, named);
      return wrong === null ? [] : [inRoute(document, path, wrong)];
    } catch (error) {
      if (error instanceof QueryProblem) return [inRoute(document, path, error)];
      throw error;
    }
  });
}

/** What in the routes of a file without problems is probably not meant. */
export function routeWarnings(document: YamlDocument, root: unknown): Problem[] {
  const named = namesIn(root);
  const { modules } = named;
  return writtenRoutes(root).flatMap(({ path, text }) => {
    const route = readRoute(text);
    const { source, warnings } = route;
    const [, messages, room, module] = source.text.split('/');
    const strayed = [...warnings];
    const far = named.hub ? strayedSink(route, named) : null;
    if (far !== null) strayed.push(new QueryProblem(far.at, `${far.message}; it is taken for one that connects`));
    const lower = module?.toLowerCase() ?? '*';
    const fromModule = messages?.toLowerCase() === 'messages' && room?.toLowerCase() === 'modules';
    if (fromModule && !named.hub && lower !== '*' && !modules.some((each) => each.toLowerCase() === lower)) {
      strayed.push(new QueryProblem(source.at, `nothing comes from here: ${nobody('module', module!, modules)}`));
    } else if (!'/messages/modules/'.startsWith(source.prefix) && !fromModule) {
      const twins = source.prefix === '/twinchangenotifications/';
      if (twins && named.hub) return strayed.map((warning) => inRoute(document, path, warning));
      strayed.push(
        new QueryProblem(
          source.at,
          `nothing comes from ${show(source.text)}${twins ? ' without a hub' : ''}`,
          'sources are /messages/* and /messages/modules/NAME/outputs/OUTPUT',
        ),
      );
    }
    return strayed.map((warning) => inRoute(document, path, warning));
  });
}

function strayedSink({ sink, sinkAt }: Route, { modules, children }: Named): QueryProblem | null {
  if (sink.kind === 'module' && !modules.includes(sink.module)) {
    return new QueryProblem(sinkAt, nobody('module', sink.module, modules));
  }
  if (sink.kind === 'child' && !children.includes(sink.child)) {
    return new QueryProblem(sinkAt, nobody('child', sink.child, children));
  }
  return null;
}

function nobody(what: 'module' | 'child', name: string, names: readonly string[]): string {
  const meant = nearest(name, names);
  const wrong = `no ${what} is called ${show(name)}`;
  if (meant !== undefined) return `${wrong}; did you mean ${show(meant)}?`;
  return names.length === 0 ? `${wrong}; there is none` : `${wrong}; there are ${names.slice(0, 20).join(', ')}`;
}

function namesIn(root: unknown): Named {
  const ids = (key: string): string[] => {
    const list = asMapping(root)?.[key];
    if (!Array.isArray(list)) return [];
    return list.map((each: unknown) => asMapping(each)?.['id']).filter((id) => typeof id === 'string');
  };
  return { modules: ids('modules'), children: ids('children'), hub: asMapping(root)?.['hub'] !== undefined };
}

interface WrittenRoute {
  readonly path: Path;
  readonly text: string;
}

/** The routes of a file that are text, however they are written. */
function writtenRoutes(root: unknown): WrittenRoute[] {
  return Object.entries(asMapping(asMapping(root)?.['routes']) ?? {}).flatMap(([name, route]) => {
    const text = typeof route === 'string' ? route : asMapping(route)?.['route'];
    const path = typeof route === 'string' ? ['routes', name] : ['routes', name, 'route'];
    return typeof text === 'string' && text !== '' ? [{ path, text }] : [];
  });
}

/** The problem at its place in the file. */
function inRoute(document: YamlDocument, path: Path, problem: QueryProblem): Problem {
  const message = problem.hint === null ? problem.message : `${problem.message}; ${problem.hint}`;
  return { path: pathText(path), ...document.atText(path, problem.at, message) };
}
