import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { Inbox } from '../src/above/inbox.ts';
import { STAGES, type Stage } from '../src/dialects/upstream-dialect.ts';
import { ManualClock } from './manual-clock.ts';
import { fc } from './parts/properties.ts';

const QUIET = pino({ level: 'silent' });

/** Something that comes, or the broker's word that it was asked for a stage. */
type Event = { readonly come: Stage; readonly takes: number } | { readonly asked: Stage };

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.record({ come: fc.constantFrom(...STAGES), takes: fc.integer({ min: 0, max: 3 }) }),
  { maxLength: 20 },
);

/** Puts the words of the broker in between, in order. */
function withWords(come: Event[], places: readonly number[]): Event[] {
  const all = [...come];
  let from = 0;
  for (const [n, stage] of STAGES.entries()) {
    from = Math.min(all.length, from + (places[n] ?? 0));
    all.splice(from, 0, { asked: stage });
    from++;
  }
  return all;
}

async function ticks(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await Promise.resolve();
}

test('what came of one stage before the next was asked for is done before anything of the next begins', async () => {
  await fc.assert(
    fc.asyncProperty(events, fc.array(fc.nat(8), { minLength: 3, maxLength: 3 }), async (come, places) => {
      const inbox = new Inbox(new ManualClock(), QUIET);
      inbox.begin();
      const done: { readonly stage: Stage; readonly what: 'begun' | 'stored'; readonly n: number }[] = [];
      const all = withWords(come, places);
      const askedAt = new Map(all.flatMap((event, n) => ('asked' in event ? [[event.asked, n]] : [])));
      for (const [n, event] of all.entries()) {
        if ('asked' in event) inbox.asked(event.asked);
        else {
          const { come: stage, takes } = event;
          const act = async () => {
            done.push({ stage, what: 'begun', n });
            await ticks(takes);
          };
          inbox.put(stage, act, () => done.push({ stage, what: 'stored', n }));
        }
      }
      await ticks(400);
      assert.equal(done.length, come.length * 2);
      for (const [at, { stage, what, n }] of done.entries()) {
        if (what !== 'begun') continue;
        const earlier = STAGES.slice(0, STAGES.indexOf(stage));
        const late = done
          .slice(at)
          .filter((each) => each.what === 'stored' && earlier.includes(each.stage) && each.n < askedAt.get(stage)!);
        assert.deepEqual(late, [], `number ${n}, of ${stage}, began too early`);
      }
    }),
    { numRuns: 300 },
  );
});

test('what fails is tried again, and nothing is held up by it', async () => {
  const clock = new ManualClock();
  const inbox = new Inbox(clock, QUIET);
  inbox.begin();
  const stored: string[] = [];
  let tries = 0;
  const fails = () => (++tries < 3 ? Promise.reject(new Error('the medium')) : Promise.resolve());
  inbox.put('registry', fails, () => stored.push('first'));
  inbox.put(
    'registry',
    () => Promise.resolve(),
    () => stored.push('second'),
  );
  inbox.put(
    'commands',
    () => Promise.resolve(),
    () => stored.push('command'),
  );
  for (const stage of STAGES) inbox.asked(stage);
  await ticks(20);
  assert.deepEqual(stored, ['second', 'command']);
  await clock.flow(4000);
  assert.deepEqual([tries, stored], [1, ['second', 'command']]);
  await clock.flow(8000);
  assert.deepEqual([tries, stored], [3, ['second', 'command', 'first']]);
});

test('what was under way when the connection ended is not acknowledged over the next', async () => {
  const inbox = new Inbox(new ManualClock(), QUIET);
  inbox.begin();
  const stored: string[] = [];
  let finish = () => undefined as void;
  inbox.put(
    'registry',
    () => new Promise((resolve) => (finish = resolve)),
    () => stored.push('of the first'),
  );
  inbox.begin();
  inbox.put(
    'registry',
    () => Promise.resolve(),
    () => stored.push('of the second'),
  );
  finish();
  await ticks(20);
  assert.deepEqual(stored, ['of the second']);
});

test('what fails while the gateway stops is neither said nor tried again, and what is done is still acknowledged', async () => {
  const clock = new ManualClock();
  const said: string[] = [];
  const inbox = new Inbox(clock, pino({ level: 'error' }, { write: (line: string) => said.push(line) }));
  inbox.begin();
  for (const stage of STAGES) inbox.asked(stage);
  await ticks(20);
  let tries = 0;
  let fail = (_error: Error) => undefined as void;
  const failing = () => {
    tries++;
    return new Promise<void>((_, reject) => (fail = reject));
  };
  let finish = () => undefined as void;
  const stored: string[] = [];
  inbox.put('commands', failing, () => stored.push('failed'));
  inbox.put(
    'commands',
    () => new Promise((resolve) => (finish = resolve)),
    () => stored.push('done'),
  );
  inbox.stop();
  fail(new Error('the gateway is stopping'));
  finish();
  await clock.flow(20_000);
  assert.deepEqual([tries, said, stored], [1, [], ['done']]);
});
