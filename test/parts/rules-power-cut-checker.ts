/*
 * Cuts the power: makes the disk of a {@link RulesHistory} anew as it was after a cut, mounts it, has the rules go on there with
 * more readings until every window has closed, and holds all that arrived above, before the cut and after it, against an
 * undisturbed run. A process of its own, because a damaged map is a SIGBUS. Writes a line of JSON for each cut, before it
 * (`{cut}`) and after it ({@link RulesCut}).
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { SpoolSettings } from '../../src/spool/settings.ts';
import { run } from './block-stack.ts';
import { chance } from './chance.ts';
import { above, type Above, RulesOnSpool } from './rules-on-spool.ts';
import { RULES_SPOOL, type RulesHistory } from './rules-power-cut-worker.ts';
import { judge, trialEnd, trialReading, type TrialOutput } from './rules-trial.ts';
import { SpoolRig, systemClock } from './spool-rig.ts';
import { until } from './until.ts';
import { CutDisk, readWriteLog } from './write-log.ts';

export interface RulesCheckerOptions {
  /** A folder of its own, with room for one disk. */
  readonly place: string;
  readonly blank: string;
  readonly log: string;
  readonly history: string;
  readonly write: SpoolSettings['write'];
  /** Cuts: after so many requests each, rising. */
  readonly cuts: readonly number[];
  readonly seed: number;
}

/** What one power cut left. */
export interface RulesCut {
  readonly cut: number;
  /** What is not as it should be; null when all is. */
  readonly problem: string | null;
  /** Readings in the windows, and those that arrived above and are in none. */
  readonly kept: number;
  readonly left: number;
  /** Records of the rules that were found, of each kind. */
  readonly checkpoints: number;
  readonly journal: number;
  /** Commands that were given before the cut and again after it, under the same id. */
  readonly again: number;
}

/** Readings after the cut, besides the last. */
const MORE = 80;

async function main(options: RulesCheckerOptions): Promise<void> {
  const history = JSON.parse(readFileSync(options.history, 'utf8')) as RulesHistory;
  const disk = new CutDisk(readFileSync(options.blank), readWriteLog(options.log));
  const image = join(options.place, 'image');
  const dir = join(options.place, 'mounted');
  mkdirSync(dir);
  for (const cut of options.cuts) {
    say({ cut });
    writeFileSync(image, disk.cut(cut, chance(options.seed + cut)));
    run('mount', '-o', 'loop', image, dir);
    try {
      say(await look(cut, history, join(dir, 'data'), options.write));
    } finally {
      run('umount', dir);
    }
  }
}

async function look(
  cut: number,
  history: RulesHistory,
  dataDir: string,
  write: SpoolSettings['write'],
): Promise<RulesCut> {
  const happened = <T>(list: readonly (readonly [number, T])[]) =>
    list.filter(([entries]) => entries <= cut).map(([, what]) => what);
  const { begun, next } = history;
  const rig = await SpoolRig.open({ ...RULES_SPOOL, write, dataDir });
  const records = rig.spool.companionRecords();
  const orders: [string, string][] = [];
  const log = pino({ level: 'error' }, pino.destination({ fd: 2, sync: true }));
  const rules = await RulesOnSpool.start(rig.spool, systemClock, log, ({ id, payload }) => {
    orders.push([id, (payload as { readonly line: string }).line]);
  });
  const arrived = new Map<string, Above>();
  const problems: string[] = [];
  const arrive = (message: Above) => {
    const known = arrived.get(message.name);
    if (known !== undefined && known.body !== message.body) {
      problems.push(`${message.name} was ${known.body} and is ${message.body}`);
    }
    arrived.set(message.name, known ?? message);
  };
  for (const message of happened(history.sent)) arrive(message);
  const deliver = () => {
    for (const stored of rig.take()) {
      arrive(above(stored));
      rig.spool.delivered(stored, true);
    }
  };
  const end = trialEnd(begun, next + MORE);
  for (let n = next; n < next + MORE; n++) {
    void rules.read(trialReading(begun, n), false);
    if (n % 40 === 0) {
      deliver();
      await rig.spool.flush();
    }
  }
  for (const reading of end) void rules.read(reading, false);
  const outputs = (): TrialOutput[] =>
    [...arrived.values()].flatMap(({ module, time, body }) => (module === null ? [] : { module, time, body }));
  const newest = end.find(({ dark }) => dark !== true)!['n'] as number;
  try {
    await until('the last window of arrival', async () => {
      await rig.spool.flush();
      deliver();
      return outputs().some(
        ({ module, body }) => module === 'arrivals' && (JSON.parse(body) as { ns: number[] }).ns.includes(newest),
      );
    });
    await rules.modules.stop();
    await rig.audit();
    deliver();
    assert.deepEqual(problems, []);
    const readings = new Map(
      [...arrived.values()].flatMap(({ module, body, at }) =>
        module === null ? [[(JSON.parse(body) as { readonly n: number }).n, at] as const] : [],
      ),
    );
    const { kept, left, numbers } = judge({
      begun,
      lives: [...happened(history.lives), next],
      end,
      readings,
      outputs: outputs(),
      allKept: write === 'always',
    });
    // Where the card is to rest a plain reading is acknowledged also when the upstream has it, written or not.
    const promised = happened(history.acknowledged).filter((n) => write === 'always' || n % 5 === 0);
    assert.deepEqual(
      promised.filter((n) => !numbers.has(n)),
      [],
      'acknowledged, and in no window',
    );
    const before = new Map(happened(history.orders));
    const after = new Map(orders);
    for (const { module, time, body } of outputs()) {
      if (module !== 'alarms') continue;
      const id = `alarms/${time}/0`;
      const { line } = JSON.parse(body) as { readonly line: string };
      const given = [before.get(id), after.get(id)];
      assert.ok(given.includes(line), `command ${id} says ${given.join(' and ')}, and its message ${line}`);
    }
    const again = orders.filter(([id]) => before.has(id)).length;
    const count = (kind: number) => records.filter((record) => record.kind === kind).length;
    return { cut, problem: null, kept, left, checkpoints: count(1), journal: count(2), again };
  } catch (error) {
    const problem = (error as Error).message;
    return { cut, problem, kept: 0, left: 0, checkpoints: 0, journal: 0, again: 0 };
  } finally {
    await rig.close();
  }
}

/** Straight to the pipe: what comes next may end this process. */
function say(line: object): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

await main(JSON.parse(process.argv[2]!) as RulesCheckerOptions);
