import { produce } from './producers.ts';
import { openInProcess, quiet, store } from './stored.ts';
import { contend, processorTime } from './worker.ts';

/** Holdfast: what a connected child gets, an acknowledgement once its message is in the spool, on the medium. */

interface Args {
  readonly folder: string;
  /** Messages that are there already. */
  readonly stored: number;
  readonly producers: number;
  readonly ms: number;
}

await contend<Args>(async ({ folder, stored, producers, ms }) => {
  const open = await openInProcess(folder);
  await store(open, stored);
  await quiet(open);
  return async () => {
    const used = processorTime();
    const from = performance.now();
    const messages = await produce(open.router, producers, ms);
    const seconds = (performance.now() - from) / 1000;
    const figures = { messages, perSecond: messages / seconds, processorUs: used() / messages };
    await open.close();
    return figures;
  };
});
