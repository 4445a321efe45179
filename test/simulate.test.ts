import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Resets } from '../src/cli/demo-resets.ts';
import type { Verdict } from '../src/cli/demo-verdict.ts';
import { PROGRAM } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';
import { Bell } from './parts/until.ts';

/** The in-flight window: what a lost acknowledgement can make the gateway send again. */
const REPEATED_MAX = 128;
const ESCAPE = '\x1b';
const LEAVES_SCREEN = `${ESCAPE}[?1049l`;
const CONTROL = new RegExp(`${ESCAPE}\\[[\\d;?]*[A-Za-z]`, 'g');
const COLOUR = new RegExp(`${ESCAPE}\\[[\\d;]*m`);

const running = new Set<ChildProcess>();
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** A command as the user runs it, with or without a terminal. */
class Run {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  ended: number | NodeJS.Signals | null = null;
  readonly #bell = new Bell();

  constructor(command: string, args: readonly string[]) {
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, TERM: 'xterm' } });
    running.add(this.process);
    this.process.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#bell.ring();
    });
    this.process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#bell.ring();
    });
    this.process.once('close', (code, signal) => {
      this.ended = code ?? signal ?? -1;
      running.delete(this.process);
      this.#bell.ring();
    });
  }

  type(key: string): void {
    this.process.stdin!.write(key);
  }

  /** The picture that the terminal shows now. */
  get screen(): string {
    return plain(this.stdout.slice(this.stdout.lastIndexOf('\x1b[H')));
  }

  shows(pattern: RegExp): Promise<string> {
    const found = () => {
      if (this.ended !== null) throw new Error(`it ended (${this.ended}) before it showed ${pattern}: ${this.stderr}`);
      return pattern.exec(this.screen)?.[0];
    };
    return this.#bell.until(() => `the screen to show ${pattern}; it shows:\n${this.screen}`, found);
  }

  says(pattern: RegExp): Promise<string> {
    const found = () => pattern.exec(this.stdout + this.stderr)?.[0];
    return this.#bell.until(() => `${pattern} in:\n${this.stdout}${this.stderr}`, found);
  }

  end(): Promise<number | NodeJS.Signals> {
    return this.#bell
      .until('the end', () => (this.ended === null ? null : { code: this.ended }))
      .then(({ code }) => code);
  }

  async verdict(): Promise<Verdict> {
    const code = await this.end();
    assert.equal(code, 0, this.stderr);
    return JSON.parse(this.stdout) as Verdict;
  }
}

function simulate(...args: string[]): Run {
  return new Run(process.execPath, [PROGRAM, 'simulate', ...args]);
}

/** On a terminal of 100 by 30, which `script` (util-linux) makes. */
function simulateOnTerminal(args: string, node = process.execPath): Run {
  const command = `stty cols 100 rows 30; exec ${node} ${PROGRAM} simulate ${args}`;
  return new Run('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null']);
}

function plain(text: string): string {
  return text.replaceAll(CONTROL, '');
}

/** The numbers of a run follow those of the run before; what was not known to have arrived comes again. */
function goesOn(before: Verdict, next: Verdict): void {
  assert.ok(next.firstSeq! <= before.lastSeq! + 1, `${next.firstSeq} after ${before.lastSeq}`);
  assert.ok(next.firstSeq! > before.lastSeq! - REPEATED_MAX, `${next.firstSeq} after ${before.lastSeq}`);
  assert.ok(next.lastSeq! > before.lastSeq!);
  assert.equal(next.missing, 0);
}

describe('what is said of the rule', () => {
  const place = (seq: number) => ({ epoch: 1, lane: 10, seq });
  const gave = (resets: Resets, ...times: string[]) => {
    for (const time of times) resets.gave(time, true, null, 0);
    return resets;
  };

  test('each reset comes as it was given, or still waits', () => {
    const resets = gave(new Resets([]), 'a', 'b', 'c');
    resets.came('a', place(4), 0);
    resets.came('b', place(8), 0);
    assert.deepEqual([resets.done, resets.arrived, resets.awaited], [3, 2, 1]);
    assert.deepEqual([resets.sound(1), resets.sound(0)], [true, false], 'one that waits nowhere is lost');
    assert.match(resets.story, /reset press-1 3 times; 2 reset messages arrived, in order, each with its original/);
  });

  test('one that overtakes another, one with another time and one that comes again are found', () => {
    const resets = gave(new Resets([]), 'a', 'b');
    resets.came('b', place(8), 0);
    resets.came('a', place(9), 0);
    assert.deepEqual([resets.outOfOrder, resets.sound(2)], [1, false]);
    resets.came('c', place(10), 0);
    resets.came('a', place(11), 0);
    assert.equal(resets.altered, 2);
    assert.match(resets.story, /1 OUT OF ORDER, 2 with ANOTHER maxEventTime/);
  });

  test('those of the run before are not held against this one', () => {
    const resets = gave(new Resets([place(20)]), 'b');
    resets.came('a', place(20), 0);
    assert.deepEqual([resets.altered, resets.arrived], [0, 0]);
    resets.came('b', place(21), 0);
    assert.deepEqual([resets.arrived, resets.sound(0)], [1, true]);
    // What is put out at the start may come before its sensor has been started, and can be told.
    resets.came('c', place(22), 0);
    gave(resets, 'c');
    assert.deepEqual([resets.arrived, resets.done, resets.sound(0)], [2, 2, true]);
  });
});

describe('holdfast simulate', { concurrency: true }, () => {
  test('a drill without a terminal keeps what comes in the outage, and everything arrives in order', async () => {
    const run = simulate('--outage', '5s', '--plain', '--interval', '100', '--json');
    const verdict = await run.verdict();
    assert.equal(verdict.ok, true);
    assert.equal(verdict.missing, 0);
    assert.equal(verdict.outOfOrder, 0);
    assert.ok(verdict.repeated <= REPEATED_MAX);
    assert.ok(verdict.keptDuringOutage >= 10, `only ${verdict.keptDuringOutage} kept`);
    assert.equal(verdict.arrived + verdict.stillInSpool >= verdict.readings, true, run.stdout);
    const [outage] = verdict.outages;
    assert.ok(outage!.ms! >= 5000 && outage!.arrivedInMs! < 5000 && outage!.inOrder, outage!.story);
    // They come with the time at which they were measured: the oldest waited through the outage.
    assert.ok(outage!.oldestMs >= 4900, `the oldest arrived after ${outage!.oldestMs} ms`);
    assert.match(run.stderr, /the network is cut/);
    // It may last longer than it was told to: no timer is on time on a machine that stands still.
    const lasted = (outage!.ms! / 1000).toFixed(1).replace('.', '\\.');
    assert.match(
      run.stderr,
      new RegExp(`outage of ${lasted} s: \\d+ messages were kept, all arrived within .* in order`),
    );
    // The rule had a hot sensor in the first or the second of the windows in the outage, whatever chance says.
    const { resets } = verdict;
    assert.ok(resets.withoutNetwork >= 1 && outage!.resetsArrived === resets.withoutNetwork, resets.story);
    assert.equal(resets.arrived + resets.awaited, resets.done);
    assert.ok(resets.awaited <= verdict.stillInSpool, resets.story);
    assert.deepEqual([resets.outOfOrder, resets.altered], [0, 0]);
    assert.match(run.stderr, /the rule reset press-1 to 21\.0 °C; local control needs no network/);
    assert.match(
      run.stderr,
      /The rule reset press-1 .* without a network; .* in order, each with its original maxEventT/,
    );
    assert.equal(run.stderr.includes(ESCAPE), false);
    const folder = /data are in (\S+)/.exec(run.stderr)![1]!;
    assert.equal(existsSync(folder), false, 'the temporary folder is still there');
  });

  test('on a terminal o cuts and restores the network, r cools as the rule does, q ends, and the screen is given back', async () => {
    const run = simulateOnTerminal('--interval 100');
    await run.shows(/● online/);
    await run.shows(/Press o to cut the network/);
    await run.shows(/cooldown +reset +[\d:]{8} +\d+\.\d s later +maxEventTime [\d:]{8}/);
    await run.shows(/rule +press-1 above 24\.0 °C: [1-9]\d* resets?, the last \d\.\d s ago/);
    run.type('o');
    await run.shows(/○ offline.*you cut it/);
    await run.shows(/1\d waiting/);
    run.type('r');
    await run.shows(/reset sent to press-1: cooled down to 21\.0 °C; local control needs no network/);
    await run.shows(/the rule reset press-1 to 21\.0 °C; local control needs no network/);
    run.type('o');
    await run.shows(/outage of .* messages were kept, all arrived within/);
    await run.shows(/\d+ arrived, in order, 0 missing/);
    run.type('q');
    assert.equal(await run.end(), 0);
    const [shown, rest] = [run.stdout.indexOf('\x1b[?1049h'), run.stdout.split(LEAVES_SCREEN)];
    assert.ok(shown !== -1 && rest.length === 2, 'the screen was not taken and given back once');
    assert.match(rest[1]!, /\d+ readings taken .* in order, 0 missing/);
    assert.equal(rest[1]!.includes(ESCAPE), false);
  });

  test('a drill on a terminal leaves the view running, without colours for NO_COLOR', async () => {
    const run = simulateOnTerminal('--outage 300ms --interval 50', `env NO_COLOR=1 ${process.execPath}`);
    await run.shows(/outage of .* messages? w\w+ kept, all arrived/);
    await run.shows(/● online/);
    assert.doesNotMatch(run.stdout, COLOUR);
    run.type('\x03');
    assert.equal(await run.end(), 0);
  });

  test('a crash gives the terminal back before it is reported', async () => {
    const crash = join(scratch(), 'crash.cjs');
    writeFileSync(crash, `process.once('SIGUSR2', () => { throw new Error('a bug') })`);
    const run = simulateOnTerminal('', `${process.execPath} --require ${crash}`);
    await run.shows(/files: \S+/);
    const folder = /files: (\S+)/.exec(run.screen)![1]!;
    // The only child of `script` is the simulation: the shell has made way for it.
    const [pid] = readFileSync(`/proc/${run.process.pid}/task/${run.process.pid}/children`, 'latin1').split(' ');
    process.kill(Number(pid), 'SIGUSR2');
    assert.notEqual(await run.end(), 0);
    assert.match(run.stdout.split(LEAVES_SCREEN)[1]!, /a bug/);
    assert.equal(existsSync(folder), false, 'the temporary folder is still there');
  });

  test('with --keep the next run goes on where the last one ended', async () => {
    const folder = join(scratch(), 'kept');
    const once = () => simulate('--for', '700ms', '--interval', '50', '--keep', folder, '--json').verdict();
    const [first, second] = [await once(), await once()];
    assert.equal(first.firstSeq, 1);
    goesOn(first, second);
    assert.match(readFileSync(join(folder, 'gateway.yaml'), 'utf8'), /id: press-1/);
  });

  test('SIGTERM ends it cleanly, also in an outage, and what waits is there for the next run', async () => {
    const folder = join(scratch(), 'kept');
    const run = simulate('--outage', '60s', '--interval', '50', '--keep', folder, '--json', '--sensors', '2');
    await run.says(/the network is cut/);
    await run.says(/local control needs no network/);
    await run.says(/offline for .* [1-9]\d* waiting/);
    run.process.kill('SIGTERM');
    const verdict = await run.verdict();
    assert.ok(verdict.stillInSpool > 0 && verdict.resets.awaited > 0);
    assert.equal(verdict.missing, 0);
    assert.ok(verdict.arrived + verdict.stillInSpool >= verdict.readings);
    const next = await simulate('--for', '700ms', '--interval', '50', '--keep', folder, '--json').verdict();
    goesOn(verdict, next);
    assert.ok(next.arrived >= verdict.stillInSpool);
    // What the rule put out in the run before is that run's: it comes, and is none of this one's.
    assert.deepEqual([next.resets.altered, next.resets.outOfOrder], [0, 0]);
  });

  test('a time that is none, a number that is none, and a folder that is somebody else’s are refused', async () => {
    const folder = scratch();
    writeFileSync(join(folder, 'gateway.yaml'), 'gateway: { id: mine }\n');
    const refused: [string[], number, RegExp][] = [
      [['--outage', '10q'], 2, /--outage "10q" is not a time from 100ms to 1d, with its unit; write for example 10s/],
      [['--for', '5'], 2, /--for "5" is not a time/],
      [['--sensors', 'many'], 2, /--sensors "many" is not a whole number from 1 to 100/],
      [['--keep', folder], 1, /gateway\.yaml was not written by simulate/],
    ];
    await Promise.all(
      refused.map(async ([args, code, message]) => {
        const run = simulate(...args);
        assert.equal(await run.end(), code);
        assert.match(run.stderr, message);
      }),
    );
    assert.equal(readFileSync(join(folder, 'gateway.yaml'), 'utf8'), 'gateway: { id: mine }\n');
  });
});
