import assert from 'node:assert/strict';
import { until } from '../parts/until.ts';
import { pass, type Scenario } from './scenario.ts';
import { LONG_MS } from './site.ts';

const CUTS = 10;
/** A life ends so long after the speaker was let in, at most; a fifth of the lives ends before that. */
const LIFE_MS_MAX = 8_000;
const EARLY = 0.2;
/** And so long after the agent's first word, then. */
const EARLY_MS_MAX = 6_000;

export const POWER: readonly Scenario[] = [
  {
    name: 'power-cuts',
    done: `${CUTS} power cuts at random moments; of what the card was not told to flush, half is gone, some torn; the broker is away in every other life`,
    expected: 'it boots each time by itself; everything acknowledged arrives, once, in order; the books are even',
    on: 'ready',
    run: async (site) => {
      const { speaker, broker, watcher, random } = site;
      const acknowledged = speaker.acknowledged.length;
      const repeats = watcher.repeats();
      let unflushed = 0;
      let early = 0;
      speaker.start();
      try {
        for (let cut = 0; cut < CUTS; cut++) {
          if (cut % 2 === 1) await broker.stop();
          else if (!broker.running) await broker.start();
          const connections = speaker.connections;
          if (!site.running) await site.switchOn();
          if (cut > 0 && random() < EARLY) {
            early++;
            await site.machine.whenBooted();
            await pass(random() * EARLY_MS_MAX);
          } else {
            await until(
              () => `the speaker to be let in; the console:\n${site.machine.console()}`,
              () => cut === 0 || speaker.connections > connections,
              3 * LONG_MS,
            );
            await pass(1_000 + random() * LIFE_MS_MAX);
          }
          unflushed += await site.machine.cut(random);
        }
        await site.ready();
        speaker.finish();
        await until('the speaker to end', () => speaker.underway === 0, LONG_MS);
      } finally {
        await speaker.stop();
      }
      await until('everything that waited to be sent', async () => (await site.stats()).ledger.pending < 10, LONG_MS);
      await site.caughtUp();
      site.account();
      await site.machine.shell('holdfast spool verify');
      const problems = await site.machine.agent.run("dmesg | grep -i 'EXT4-fs error'");
      assert.equal(problems.output, '', 'the file systems are sound');
      const count = speaker.acknowledged.length - acknowledged;
      assert.ok(count > CUTS * 10, `only ${count} messages were acknowledged`);
      return `${count} acknowledged, 0 lost; ${early} of the cuts during the start; ${unflushed} requests were not flushed; ${watcher.repeats() - repeats} came twice`;
    },
  },
];
