import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noBlockStack } from './parts/block-stack.ts';
import { cutPower, summary, told, violations, type Story } from './parts/power-cut.ts';
import type { StorySettings } from './parts/power-cut-history.ts';
import { SEED } from './parts/seed.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
/** Power cuts, and what they follow from (see scripts/power-cuts). */
const CUTS = Number(process.env['HOLDFAST_POWER_CUTS'] ?? (LONG ? 2000 : 12));
/** Cuts in the life of one spool, at the most; then another begins, with the next seed. */
const CUTS_A_STORY = 250;
/** Cuts of a control: it finds what it is there for in one of four. */
const CONTROL_CUTS = 30;
const MESSAGES = 6000;
/** Of those, what came before the process was killed and began anew. */
const MESSAGES_BEFORE_KILL = 4000;

/** What a story must have had in it, or its cuts prove little. */
function checkStory({ history, requests }: Story): void {
  const { commits, acknowledged, delivered, evicted } = history;
  assert.ok(commits.length > 100, `${commits.length} commits`);
  assert.ok(requests > 1000, `${requests} requests`);
  assert.ok(acknowledged.length > 0.9 * MESSAGES, `${acknowledged.length} acknowledged`);
  assert.ok(delivered.length > MESSAGES / 10 && evicted > 0, `${delivered.length} delivered, ${evicted} evicted`);
}

describe('a power cut', { skip: noBlockStack() }, () => {
  test('at any moment loses nothing that was acknowledged, breaks nothing, and no number is used twice', async (context) => {
    for (let left = CUTS, seed = SEED; left > 0; left -= CUTS_A_STORY, seed++) {
      const cuts = Math.min(left, CUTS_A_STORY);
      const messages = [MESSAGES_BEFORE_KILL, MESSAGES - MESSAGES_BEFORE_KILL];
      const story = await cutPower({ settings: {}, messages, cuts, seed });
      context.diagnostic(`seed ${seed}: ${summary(story)}`);
      checkStory(story);
      assert.equal(violations(story), '', `seed ${seed}`);
      assert.equal(story.cuts.length, cuts);
    }
  });

  // One life only: after a kill, what a relaxed spool finds again may be in the kernel's memory and nowhere else.
  // The control: a setting that promises less must be found out, or the test above could not have found anything either.
  test('with durability: relaxed may undo the last commit, whole, and nothing else', async (context) => {
    const settings: StorySettings = { durability: 'relaxed' };
    const story = await cutPower({ settings, messages: [MESSAGES], cuts: CONTROL_CUTS, seed: SEED });
    context.diagnostic(`seed ${SEED}: ${summary(story)}`);
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
