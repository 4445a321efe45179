import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { noBlockStack } from './parts/block-stack.ts';
import { cutPower, summary, violations } from './parts/power-cut.ts';
import type { StorySettings } from './parts/power-cut-history.ts';
import { SEED } from './parts/seed.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const CUTS = LONG ? 500 : 6;
/** Two lives, the first of which ends with a SIGKILL. */
const MESSAGES = [4000, 2000];

describe('a power cut with write: when-needed', { skip: noBlockStack() }, () => {
  // An acknowledgement means here: on the medium, or acknowledged by the upstream. Numbers that the upstream has seen may be
  // unknown to the books, so a new start must not use them for anything else.
  for (const [upstream, settledShare] of [
    ['takes a part', 0.6],
    ...(LONG ? ([['keeps up', 1]] as const) : []),
  ] as const) {
    test(`loses nothing that was acknowledged, and no number is used twice, while the upstream ${upstream}`, async (context) => {
      const settings: StorySettings = { write: 'when-needed' };
      const story = await cutPower({ settings, messages: MESSAGES, settledShare, cuts: CUTS, seed: SEED });
      context.diagnostic(`seed ${SEED}: ${summary(story)}`);
      assert.equal(violations(story), '', `seed ${SEED}`);
      assert.equal(story.cuts.length, CUTS);
    });
  }
});
