import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { noBlockStack } from './parts/block-stack.ts';
import { cutPower, type Story } from './parts/power-cut.ts';
import type { Cut } from './parts/power-cut-checker.ts';
import type { StorySettings } from './parts/power-cut-history.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
/** Power cuts, and what they follow from (see scripts/power-cuts). */
const CUTS = Number(process.env['HOLDFAST_POWER_CUTS'] ?? (LONG ? 2000 : 100));
const SEED = Number(process.env['HOLDFAST_POWER_CUT_SEED'] ?? Date.now() % 1_000_000);
/** Cuts in the life of one spool, at the most; then another begins, with the next seed. */
const CUTS_A_STORY = 250;
/** Cuts of a control: it finds what it is there for in one of four. */
const CONTROL_CUTS = 30;
const MESSAGES = 6000;
/** Of those, what came before the process was killed and began anew. */
const MESSAGES_BEFORE_KILL = 4000;

/** A cut in words: what is needed to see why it is complained of. */
function told(cut: Cut): string {
  const { missing, problems } = cut;
  const some = missing.slice(0, 5).map(([lane, seq]) => `${lane}:${seq}`);
  return `${JSON.stringify({ ...cut, missing: missing.length, problems: problems.slice(0, 5) })} missing ${some.join(' ')}`;
}

function tell(context: TestContext, { history, requests, cuts }: Story, seed: number): void {
  const { commits, acknowledged, settled, evicted } = history;
  const ahead = cuts.filter(({ found, promised }) => found !== null && found > promised).length;
  context.diagnostic(
    `seed ${seed}: ${cuts.length} cuts in ${requests} requests, ${commits.length} commits, ${acknowledged.length} acknowledged, ` +
      `${settled.length} settled, ${evicted} evicted; ${ahead} cuts found a commit that nobody had heard of`,
  );
}

/** What a story must have had in it, or its cuts prove little. */
function checkStory({ history, requests }: Story): void {
  const { commits, acknowledged, settled, evicted } = history;
  assert.ok(commits.length > 100, `${commits.length} commits`);
  assert.ok(requests > 1000, `${requests} requests`);
  assert.ok(acknowledged.length > 0.9 * MESSAGES, `${acknowledged.length} acknowledged`);
  assert.ok(settled.length > MESSAGES / 10 && evicted > 0, `${settled.length} settled, ${evicted} evicted`);
}

describe('a power cut', { skip: noBlockStack() }, () => {
  test('at any moment loses nothing that was acknowledged, breaks nothing, and no number is used twice', async (context) => {
    for (let left = CUTS, seed = SEED; left > 0; left -= CUTS_A_STORY, seed++) {
      const cuts = Math.min(left, CUTS_A_STORY);
      const messages = [MESSAGES_BEFORE_KILL, MESSAGES - MESSAGES_BEFORE_KILL];
      const story = await cutPower({ settings: {}, messages, cuts, seed });
      tell(context, story, seed);
      checkStory(story);
      const violations = story.cuts.filter(
        ({ promised, found, missing, reused, problems }) =>
          found === null || found < promised || missing.length + reused.length + problems.length > 0,
      );
      assert.equal(violations.length, 0, `seed ${seed}\n${violations.slice(0, 10).map(told).join('\n')}`);
      assert.equal(story.cuts.length, cuts);
    }
  });

  // One life only: after a kill, what a relaxed spool finds again may be in the kernel's memory and nowhere else.
  // The control: a setting that promises less must be found out, or the test above could not have found anything either.
  test('with durability: relaxed may undo the last commit, whole, and nothing else', async (context) => {
    const settings: StorySettings = { durability: 'relaxed' };
    const story = await cutPower({ settings, messages: [MESSAGES], cuts: CONTROL_CUTS, seed: SEED });
    tell(context, story, SEED);
    checkStory(story);
    const undone = story.cuts.filter(({ promised, found }) => found === null || found < promised);
    context.diagnostic(`${undone.length} of ${story.cuts.length} undid the last commit`);
    for (const cut of story.cuts) {
      const { promised, found, missing, reused, problems } = cut;
      assert.deepEqual(problems, [], told(cut));
      assert.ok(found !== null && found >= promised - 1, told(cut));
      if (found >= promised) {
        assert.equal(missing.length + reused.length, 0, told(cut));
        continue;
      }
      // What is missing is what the last commit brought.
      const [before, after] = [story.history.commits[found]![2], story.history.commits[promised]![2]];
      for (const [lane, seq] of missing) assert.ok(seq >= before[lane]! && seq < after[lane]!, told(cut));
    }
    assert.ok(
      undone.some(({ missing }) => missing.length > 0),
      'no cut lost an acknowledged message: this test cannot tell a durable spool from another',
    );
  });
});
