import { Router, type Sink } from '../../src/router/router.ts';
import { readRoute } from '../../src/router/route.ts';

/** A router whose one route takes everything to the upstream. */
export function upstreamRouter(upstream: Sink, priority?: number): Router {
  const nobody = () => {
    throw new Error('no route leads here');
  };
  return new Router({
    gateway: 'gateway',
    destinations: { upstream, modules: nobody, child: nobody, kept: nobody },
    routes: [{ name: 'upstream', route: readRoute('FROM /messages/* INTO $upstream'), priority }],
  });
}
