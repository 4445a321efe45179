import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import type { SpoolSettings } from '../src/spool/settings.ts';
import { BlockStack, noBlockStack, spacious } from './parts/block-stack.ts';
import { chance } from './parts/chance.ts';
import { part, unmount } from './parts/power-cut.ts';
import type { RulesCheckerOptions, RulesCut } from './parts/rules-power-cut-checker.ts';
import type { RulesHistory, RulesWorkerOptions } from './parts/rules-power-cut-worker.ts';
import { trialBegin } from './parts/rules-trial.ts';
import { SEED } from './parts/seed.ts';
import { readWriteLog } from './parts/write-log.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const CUTS = Number(process.env['HOLDFAST_POWER_CUTS'] ?? (LONG ? 300 : 3));
const DISK_BYTES = 24 * 2 ** 20;
/** Readings of each life; all lives but the last end with a SIGKILL. */
const LIVES = [600, 500];
const CHECKERS = 2;
/** Rounds of cuts, where those before have found nothing of the journal. */
const ROUNDS_MAX = 6;

async function cut(context: TestContext, write: SpoolSettings['write'], seed: number): Promise<void> {
  const stack = await BlockStack.start({ bytes: DISK_BYTES, recordWrites: true });
  const place = spacious();
  const { blank, log } = stack;
  const file = join(place, 'history');
  try {
    const dataDir = join(stack.dir, 'data');
    mkdirSync(dataDir);
    const begun = trialBegin();
    for (const [life, readings] of LIVES.entries()) {
      const end = life === LIVES.length - 1 ? 'stop' : 'kill';
      const work: RulesWorkerOptions = { dataDir, log, history: file, write, begun, readings, seed: seed + life, end };
      const { ended, lines } = await part('rules-power-cut-worker', work);
      assert.equal(lines.at(-1), 'done', `the worker ended (${ended})`);
    }
    const requests = readWriteLog(log).length;
    const random = chance(seed);
    // The first requests make the spool; before its first commit there is nothing to be held against anything.
    const history = JSON.parse(readFileSync(file, 'utf8')) as RulesHistory;
    const [made] = history.lives[0]!;
    const look = async (round: number): Promise<RulesCut[]> => {
      const points = Array.from({ length: CUTS }, () => made + 1 + Math.floor(random() * (requests - made)));
      points.sort((a, b) => a - b);
      const looked = await Promise.all(
        Array.from({ length: CHECKERS }, async (_, n) => {
          const own = join(place, `checker-${round}-${n}`);
          mkdirSync(own);
          const cuts = points.filter((__, at) => at % CHECKERS === n);
          const options: RulesCheckerOptions = { place: own, blank, log, history: file, write, cuts, seed };
          try {
            const { ended, lines } = await part('rules-power-cut-checker', options);
            assert.equal(ended, 0, `the process that looked ended after ${lines.at(-1)}`);
            return lines.map((text) => JSON.parse(text) as RulesCut).filter((said) => 'kept' in said);
          } finally {
            unmount(own);
          }
        }),
      );
      return looked.flat();
    };
    const found = await look(0);
    // A few cuts may all have come right behind a checkpoint: then more are made.
    let rounds = 1;
    while (rounds < ROUNDS_MAX && found.every(({ journal }) => journal === 0)) found.push(...(await look(rounds++)));
    assert.equal(found.length, CUTS * rounds);
    const sum = (of: (cut: RulesCut) => number) => found.reduce((total, each) => total + of(each), 0);
    context.diagnostic(
      `seed ${seed}: ${found.length} cuts in ${requests} requests; ${sum(({ kept }) => kept)} readings in the windows, ` +
        `${sum(({ left }) => left)} arrived and are in none; found ${sum(({ checkpoints }) => checkpoints)} checkpoints and ` +
        `${sum(({ journal }) => journal)} blocks of journal; ${sum(({ again }) => again)} commands given again under their id`,
    );
    const bad = found.filter(({ problem }) => problem !== null);
    assert.deepEqual(bad.slice(0, 3), [], `${bad.length} of ${found.length} cuts, seed ${seed}`);
    // Else too little was there to be lost.
    assert.ok(sum(({ checkpoints }) => checkpoints) > found.length, 'too few checkpoints were found to tell');
    assert.ok(sum(({ journal }) => journal) > (LONG ? CUTS : 0), 'too little of the journal was found to tell');
  } finally {
    await stack.end();
    rmSync(place, { recursive: true, force: true });
  }
}

describe('rules through a power cut', { skip: noBlockStack() }, () => {
  test('each window comes out once, as if there had been no cut, over all that was accepted', (context) =>
    cut(context, 'always', SEED));

  test('where the card is to rest: the same, over what the rules remember up to some moment', (context) =>
    cut(context, 'when-needed', SEED + 1));
});
