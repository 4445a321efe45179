import type { Router } from '../src/router/router.ts';
import { bodies } from './body.ts';

/** Children that each send their next message when the last one is acknowledged; resolves with how many were, in all. */
export async function produce(router: Router, producers: number, ms: number): Promise<number> {
  const until = performance.now() + ms;
  let acknowledged = 0;
  const one = async (number: number) => {
    const body = bodies(number);
    while (performance.now() < until) {
      const reading = { body: body(), contentType: 'application/json', eventTime: Date.now() };
      await router.reading(`press-${number}`, reading, true);
      acknowledged++;
    }
  };
  await Promise.all(Array.from({ length: producers }, (_, number) => one(number + 1)));
  return acknowledged;
}
