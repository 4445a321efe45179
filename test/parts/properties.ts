import { configureGlobal } from 'fast-check';
import { SEED } from './seed.ts';

/* fast-check, from this run's seed where a test names none of its own. */
configureGlobal({ seed: SEED | 0 });

export { default as fc } from 'fast-check';
