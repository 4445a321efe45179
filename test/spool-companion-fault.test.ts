import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Companion, CompanionRecord } from '../src/spool/companion.ts';
import type { Change, Environment } from '../src/store/environment.ts';
import { StoreError } from '../src/store/store-error.ts';
import { ManualClock } from './manual-clock.ts';
import { SpoolRig } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

/** Of its journal the last blocks are needed. */
const NEEDED = 10;
const RECORD = Buffer.alloc(200, 'journal');

/** Keeps a journal as the rules do: each cut has a block of its own, and those that nobody needs any more go. */
class Journal implements Companion {
  #next = 1;
  #fed = 0;

  fed(): void {
    this.#fed++;
  }

  get bytes(): number {
    return this.#fed * RECORD.length;
  }

  get needed(): number[] {
    return Array.from({ length: Math.min(NEEDED, this.#next - 1) }, (_, n) => this.#next - 1 - n).toReversed();
  }

  cut(): CompanionRecord[] {
    if (this.#fed === 0) return [];
    this.#fed = 0;
    const number = this.#next++;
    const gone = number <= NEEDED ? [] : [{ kind: 2, number: number - NEEDED, value: null }];
    return [...gone, { kind: 2, number, value: RECORD }];
  }
}

/** How a medium takes nothing. Gives how to end that. */
const faults: Record<
  string,
  (environment: Environment, clock: ManualClock, seen: (changes: number) => void) => () => void
> = {
  'at once': (environment, _, seen) =>
    refuse(environment, (changes) => {
      seen(changes.length);
      return Promise.reject(new StoreError('io', 'the medium refuses'));
    }),
  'after a while': (environment, clock, seen) =>
    refuse(environment, (changes) => {
      seen(changes.length);
      return new Promise((_resolve, reject) =>
        clock.after(400, () => reject(new StoreError('io', 'the medium refuses'))),
      );
    }),
  'before there is a commit': (environment) => {
    Object.defineProperty(environment, 'displaced', { get: () => 'other filesystem', configurable: true });
    return () => delete (environment as { displaced?: unknown }).displaced;
  },
};

function refuse(environment: Environment, write: (changes: readonly Change[]) => Promise<void>): () => void {
  environment.write = write;
  return () => delete (environment as { write?: unknown }).write;
}

describe('a medium that takes nothing for long, while the network is up and rules run', () => {
  for (const write of ['always', 'when-needed'] as const) {
    for (const [how, begin] of Object.entries(faults)) {
      test(`(write: ${write}) refusing ${how}: what waits in memory does not grow, and is whole when it can be written`, async () => {
        const clock = new ManualClock();
        const rig = await SpoolRig.open({ clock, commitEveryMs: 250, write });
        const journal = new Journal();
        rig.spool.accompany(journal);
        await rig.spool.flush();
        let most = 0;
        const end = begin(rig.spool.environment, clock, (changes) => (most = changes));
        const run = async (seconds: number): Promise<void> => {
          for (let tenth = 0; tenth < seconds * 10; tenth++) {
            void rig.accept(`a reading ${tenth}`, 10, false).catch(() => undefined);
            journal.fed();
            rig.spool.touch(false);
            await clock.flow(100);
            for (const stored of rig.take()) rig.spool.delivered(stored, true);
          }
        };
        await run(60);
        const [before, changesBefore] = [rig.spool.snapshot().waitingBytes, most];
        await run(240);
        const { waitingBytes } = rig.spool.snapshot();
        assert.ok(waitingBytes < before + 30_000, `${before} bytes waited, and ${waitingBytes} do now`);
        assert.ok(most <= changesBefore + NEEDED, `a commit had ${changesBefore} changes, and has ${most} now`);
        end();
        await until('the medium to take all', async () => {
          await clock.flow(500);
          return rig.spool.snapshot().fault === null;
        });
        const flushed = rig.audit();
        await clock.flow(1000);
        await flushed;
        assert.deepEqual(
          rig.spool.companionRecords().map(({ number }) => number),
          journal.needed,
        );
        const closed = rig.close();
        await clock.flow(5000);
        await closed;
      });
    }
  }

  test('who does not wait for what rules alone are fed is not remembered; who does hears when it is written', async () => {
    const clock = new ManualClock();
    const rig = await SpoolRig.open({ clock, commitEveryMs: 250 });
    const journal = new Journal();
    rig.spool.accompany(journal);
    await rig.spool.flush();
    const end = faults['at once']!(rig.spool.environment, clock, () => undefined);
    const told: string[] = [];
    journal.fed();
    void rig.spool.kept(false).then(() => told.push('not waiting'));
    void rig.spool.kept(true).then(() => told.push('waiting'));
    await clock.flow(10_000);
    assert.deepEqual(told, ['not waiting']);
    end();
    await until('all to be written', async () => {
      await clock.flow(500);
      return told.length === 2;
    });
    journal.fed();
    await rig.spool.kept(false);
    await until('what nobody waits for to be written', async () => {
      await clock.flow(250);
      return rig.spool.companionRecords().length === 2;
    });
    const closed = rig.close();
    await clock.flow(5000);
    await closed;
  });
});
