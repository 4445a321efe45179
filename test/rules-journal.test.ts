import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Clock } from '../src/clock/clock.ts';
import { LANES, type Message } from '../src/message/message.ts';
import type { Fields, Value } from '../src/query/value.ts';
import { encodeState, decodeState } from '../src/query/state.ts';
import { parseBody, printBody } from '../src/query/body-json.ts';
import { decodeCheckpoint } from '../src/rules/checkpoint.ts';
import { Engine, type OutputEvent } from '../src/rules/engine.ts';
import type { FedEvent, ModuleSpec, RunningQuery } from '../src/rules/hosted.ts';
import { RulesHost } from '../src/rules/host.ts';
import { decodeJournal, encodeJournal } from '../src/rules/journal.ts';
import { ManualClock } from './manual-clock.ts';
import { chance } from './parts/chance.ts';
import { Medium } from './parts/spool-model-medium.ts';
import { noise, SpoolRig, systemClock, text } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';

const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';

interface State {
  readonly taken: number[];
  readonly open: number;
}

/** Puts out the numbers that it was given, `size` at a time; remembers `ballast` besides. */
class Bundles implements RunningQuery<string> {
  readonly #id: string;
  readonly #size: number;
  readonly #ballast: string;
  #taken: number[] = [];
  counters = { in: 0, out: 0, late: 0, early: 0, unordered: 0, dropped: 0, bounded: 0 };
  closesAt: number | null = null;
  fails: 'feed' | 'save' | null = null;

  constructor(id: string, size: number, ballast = 0) {
    this.#id = id;
    this.#size = size;
    this.#ballast = noise(ballast).toString('hex');
  }

  ahead(): number {
    return 0;
  }

  learn(): string[] {
    return [];
  }

  feed(input: string, { fields }: FedEvent): string[] {
    if (this.fails === 'feed') throw new Error('a fault of ours');
    this.counters.in++;
    this.#taken.push(fields['n'] as number);
    return this.#taken.length < this.#size ? [] : this.#out(input);
  }

  #out(why: string): string[] {
    this.counters.out++;
    return [`${this.#id} ${why} ${this.#taken.splice(0).join('+')}`];
  }

  tick(now: number): string[] {
    if (this.closesAt === null || this.closesAt > now) return [];
    this.closesAt = null;
    return this.#out(`at ${now}`);
  }

  nextTick(): number | null {
    return this.closesAt;
  }

  end(): string[] {
    return this.#taken.length === 0 ? [] : this.#out('end');
  }

  save(): Value {
    if (this.fails === 'save') throw new Error('cannot be saved');
    return { taken: this.#taken.slice(), ballast: this.#ballast };
  }

  load(saved: Value): void {
    this.#taken = [...(saved as unknown as State).taken];
  }

  get held() {
    return { windows: 1, groups: 1, bytes: 100 + this.#ballast.length };
  }
}

const spec = (id: string, size: number, ballast = 0, hash = `${size}`): ModuleSpec<string> => ({
  id,
  hash,
  make: () => new Bundles(id, size, ballast),
});

/** What is in a message's body behind its number is there for its length. */
function fieldsOf({ body }: Message): Fields {
  const n = Number(body.toString('latin1').split(' ')[0]);
  if (!Number.isFinite(n)) throw new Error('no number');
  return { n };
}

interface StageOptions {
  readonly clock?: Clock;
  readonly modules: readonly ModuleSpec<string>[];
  /** Whom a module's output is fed to. */
  readonly chained?: Readonly<Record<string, string>>;
  readonly laneOf?: (module: string) => number;
}

/** A host beside a spool, as the gateway connects them. */
function stage(rig: SpoolRig, { clock = { ...wallClock }, modules, chained = {}, laneOf = () => 10 }: StageOptions) {
  const put: string[] = [];
  const log: { msg: string; module?: string }[] = [];
  const queries = new Map<string, Bundles>();
  let derived = 0;
  const host: RulesHost<string> = new RulesHost<string>({
    modules: modules.map((each) => ({
      ...each,
      make: () => {
        const query = each.make() as Bundles;
        queries.set(each.id, query);
        return query;
      },
    })),
    clock,
    log: pino({ base: null }, { write: (line: string) => void log.push(JSON.parse(line)) }),
    quotaBytes: () => 8 * 2 ** 20,
    fieldsOf,
    emit: (module, output) => {
      put.push(output);
      rig.spool.accept(rig.message(output, laneOf(module)), false, true).catch(() => undefined);
      const next = chained[module];
      // The first of the numbers stands for all.
      const n = output.split(' ').at(-1)!.split('+')[0]!;
      derived++;
      if (next !== undefined) host.feed(rig.message(n, 10), [{ module: next, input: 'in' }]);
    },
    touch: () => rig.spool.touch(false),
    encodeState: (state) => JSON.stringify(state),
    decodeState: (state) => JSON.parse(state) as Value,
  });
  // Of a gateway's messages, the clock is the rules' own.
  const feed = host.feed.bind(host);
  host.feed = (message, targets) =>
    feed({ ...message, acceptedAt: { ...message.acceptedAt, monotonic: clock.monotonic() } }, targets);
  const records = rig.spool.companionRecords();
  rig.spool.accompany(host);
  host.start(records);
  return { host, put, log, queries, derived: () => derived };
}

const wallClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => systemClock.monotonic(),
  known: () => true,
  bootId: 'boot',
  soon: (fn) => void setImmediate(fn),
  after: () => ({ cancel: () => undefined }),
  every: () => ({ cancel: () => undefined }),
};

const to = (...modules: string[]) => modules.map((module) => ({ module, input: 'in' }));

/** What the modules put out when nothing comes between. */
function undisturbed(numbers: readonly number[]): string[] {
  const expected: string[] = [];
  const small = new Bundles('small', 3);
  const large = new Bundles('large', 41);
  const other = new Bundles('other', 23);
  const second = new Bundles('second', 2);
  const event = (n: number) => ({ fields: { n }, arrival: 0, arrivalKnown: true });
  for (const n of numbers) {
    for (const output of small.feed('in', event(n))) {
      expected.push(output, ...second.feed('in', event(Number(output.split(' ')[2]!.split('+')[0]))));
    }
    expected.push(...large.feed('in', event(n)), ...other.feed('in', event(n)));
  }
  return expected;
}

const four: StageOptions = {
  modules: [spec('small', 3), spec('large', 41, 3000), spec('other', 23, 3000), spec('second', 2)],
  chained: { small: 'second' },
  laneOf: (module) => ({ small: 0, large: 10, other: 10, second: 5 })[module]!,
};

for (const seed of LONG ? [1, 2, 3, 4, 5, 6, 7, 8] : [1, 2, 3, 4]) {
  test(`crashes at any moment: each output once, as if there had been none (seed ${seed})`, async (context) => {
    const random = chance(seed);
    const options = { quota: { bytes: 8 * 2 ** 20 }, commitEveryMs: 1, whenFull: 'reject-new' } as const;
    let rig = await SpoolRig.open(options);
    let { host } = stage(rig, four);
    let medium = new Medium(rig.spool.environment);
    /** By lane and number, as the upstream would have it. */
    const arrived = new Map<string, string>();
    const deliver = (count: number) => {
      for (const stored of rig.take(count)) {
        arrived.set(`${stored.lane}/${stored.seq}`, text(stored));
        rig.spool.delivered(stored, true);
      }
    };
    let number = 0;
    let crashes = 0;
    let journaled = 0;
    for (let step = 0; step < 160; step++) {
      const burst = Math.floor(random() * 6);
      for (let n = 0; n < burst; n++) {
        const filling = random() < 0.1 ? 60_000 : 300;
        const body = Buffer.from(`${++number} ${noise(Math.floor(random() * filling)).toString('hex')}`);
        const message = rig.message(body, Math.floor(random() * LANES));
        rig.spool.accept(message, random() < 0.3).catch(() => undefined);
        host.feed(message, to('small', 'large', 'other'));
      }
      if (random() < 0.7) await new Promise((resolve) => setImmediate(resolve));
      if (random() < 0.1) await rig.spool.flush().catch(() => undefined);
      if (random() < 0.3) deliver(Math.floor(random() * 20));
      if (random() < 0.05) medium.refuse('io');
      else if (random() < 0.3) medium.heal();
      journaled = Math.max(journaled, host.journalBytes);
      if (random() < 0.08) {
        rig = await rig.crash();
        crashes++;
        medium = new Medium(rig.spool.environment);
        ({ host } = stage(rig, four));
        if (random() < 0.3) await rig.audit();
      }
    }
    medium.heal();
    await rig.audit();
    deliver(Infinity);
    const texts = [...arrived.values()];
    const inputs = texts
      .filter((each) => /^\d/.test(each))
      .map((each) => Number(each.split(' ')[0]))
      .sort((a, b) => a - b);
    const outputs = texts.filter((each) => !/^\d/.test(each));
    context.diagnostic(
      `${crashes} crashes, ${number} inputs, ${inputs.length} of them kept, ${outputs.length} outputs`,
    );
    assert.ok(crashes > 3 && inputs.length > 50 && journaled > 0);
    assert.deepEqual(outputs.sort(), undisturbed(inputs).sort());
    host.stop();
    await rig.close();
  });
}

const SCRIPT = `
  SELECT key, AVG(v) AS mean, COUNT(*) AS n, System.Timestamp() AS ended INTO means FROM input TIMESTAMP BY t
  GROUP BY key, TumblingWindow(second, 10) HAVING COUNT(*) > 0
  SELECT key, v, LAG(v) OVER (PARTITION BY key LIMIT DURATION(hour, 1)) AS before INTO high FROM input TIMESTAMP BY t WHERE v > 97`;
const compiled = () => Engine.compile({ script: SCRIPT, lateArrivalMs: -1, outOfOrderMs: 2000 });
const printed = ({ output, window, n, body }: OutputEvent) => `${output} ${window} ${n} ${printBody(body)}`;

for (const seed of LONG ? [1, 2, 3] : [1]) {
  test(`a real query through crashes: its windows as if there had been none (seed ${seed})`, async (context) => {
    const random = chance(seed);
    const options = { commitEveryMs: 1 } as const;
    const begun = Date.now() - 3_600_000;
    // Long names that no codec makes shorter: a state that is not small.
    const keys = Array.from({ length: 60 }, () => noise(60).toString('hex'));
    const running = (rig: SpoolRig) => {
      const host: RulesHost<OutputEvent> = new RulesHost<OutputEvent>({
        modules: [{ id: 'm', hash: 'query', make: compiled }],
        clock: { ...wallClock },
        log: pino({ level: 'silent' }),
        quotaBytes: () => 64 * 2 ** 20,
        fieldsOf: ({ body }) => parseBody(body) as Fields,
        emit: (_module, output) => void rig.spool.accept(rig.message(printed(output), 3), false, true),
        touch: () => rig.spool.touch(false),
        encodeState,
        decodeState,
      });
      rig.spool.accompany(host);
      host.start(rig.spool.companionRecords());
      return host;
    };
    let rig = await SpoolRig.open(options);
    let host = running(rig);
    let number = 0;
    let crashes = 0;
    let journals = 0;
    for (let step = 0; step < 200; step++) {
      for (let n = Math.floor(random() * 6); n > 0; n--) {
        const t = new Date(begun + ++number * 400 - Math.floor(random() * 3000)).toISOString();
        const key = keys[Math.floor(random() * keys.length)]!;
        const message = rig.message(JSON.stringify({ number, t, key, v: Math.floor(random() * 1000) / 10 }), 9);
        void rig.spool.accept(message, random() < 0.3);
        host.feed(message, [{ module: 'm', input: 'input' }]);
      }
      if (random() < 0.7) await new Promise((resolve) => setImmediate(resolve));
      if (random() < 0.15) await rig.spool.flush();
      if (random() < 0.06) {
        rig = await rig.crash();
        crashes++;
        journals += rig.spool.companionRecords().filter(({ kind }) => kind === 2).length;
        host = running(rig);
      }
    }
    await rig.audit();
    const texts = rig.take().map(text);
    const inputs = texts.filter((each) => each.startsWith('{')).map((each) => JSON.parse(each) as { number: number });
    const undisturbedRun = compiled();
    const arrival = Date.now() * 1000;
    const expected = inputs
      .toSorted((a, b) => a.number - b.number)
      .flatMap((each) =>
        undisturbedRun.feed('input', {
          fields: parseBody(Buffer.from(JSON.stringify(each))) as Fields,
          arrival,
          arrivalKnown: true,
        }),
      );
    const outputs = texts.filter((each) => !each.startsWith('{'));
    context.diagnostic(
      `${crashes} crashes, ${inputs.length} of ${number} inputs, ${outputs.length} outputs, ${journals} blocks of journal fed again`,
    );
    assert.ok(crashes > 3 && outputs.length > 50 && journals > 0);
    assert.deepEqual(outputs, expected.map(printed));
    await rig.close();
  });
}

test('after a clean stop nothing is fed again: all is in the checkpoints', async () => {
  let rig = await SpoolRig.open();
  const first = stage(rig, four);
  for (const n of [1, 2, 3, 4, 5]) first.host.feed(rig.message(String(n)), to('small', 'large'));
  first.host.stop();
  rig = await rig.restart();
  assert.deepEqual(
    rig.spool.companionRecords().map(({ kind }) => kind),
    [1, 1, 1],
  );
  const second = stage(rig, four);
  for (const n of [6, 7]) second.host.feed(rig.message(String(n)), to('small', 'large'));
  assert.deepEqual(second.put, ['small in 4+5+6', 'second in 1+4']);
  assert.deepEqual(
    [second.queries.get('large')!.end(), second.queries.get('small')!.end()],
    [['large end 1+2+3+4+5+6+7'], ['small end 7']],
  );
  second.host.stop();
  await rig.close();
});

test('what is not bound upstream is kept in the journal alone, once `kept` has resolved', async () => {
  let rig = await SpoolRig.open();
  const first = stage(rig, { modules: [spec('large', 4, 20_000)] });
  for (const n of [1, 2, 3]) {
    first.host.feed(rig.message(String(n)), to('large'));
    await rig.spool.kept(true);
  }
  rig = await rig.crash();
  assert.equal(rig.spool.companionRecords().filter(({ kind }) => kind === 2).length, 2);
  const second = stage(rig, { modules: [spec('large', 4, 20_000)] });
  second.host.feed(rig.message('4'), to('large'));
  assert.deepEqual(second.put, ['large in 1+2+3+4']);
  await rig.spool.kept(true);
  // With the output came a checkpoint, and the journal went.
  rig = await rig.restart();
  assert.deepEqual(
    rig.spool.companionRecords().map(({ kind }) => kind),
    [1],
  );
  await rig.close();
});

test('with write: when-needed an output is sent only once it is on the medium, with the state that put it out', async () => {
  let rig = await SpoolRig.open({ write: 'when-needed' });
  const modules = [spec('large', 3, 20_000)];
  const first = stage(rig, { modules });
  const sent: string[] = [];
  const send = () => {
    for (const stored of rig.take()) {
      sent.push(text(stored).split(' ')[0]!);
      rig.spool.delivered(stored, true);
    }
  };
  const feed = (host: RulesHost<string>, n: number) => {
    const message = rig.message(String(n));
    void rig.spool.accept(message, false);
    host.feed(message, to('large'));
  };
  for (const n of [1, 2, 3]) {
    feed(first.host, n);
    send();
  }
  // The upstream has all three, none of them written; the output waits.
  assert.deepEqual([first.put, sent], [['large in 1+2+3'], ['1', '2', '3']]);
  await until('the output', () => {
    send();
    return sent.length === 4;
  });
  rig = await rig.crash();
  const second = stage(rig, { modules });
  assert.deepEqual(second.put, []);
  for (const n of [4, 5, 6]) feed(second.host, n);
  assert.deepEqual(second.put, ['large in 4+5+6']);
  second.host.stop();
  await rig.close();
});

test('another query under the same name begins anew, a module that is gone is let go; both are said', async () => {
  let rig = await SpoolRig.open();
  const before = stage(rig, { modules: [spec('a', 3), spec('b', 3, 5000), spec('c', 3)] });
  for (const n of [1, 2]) {
    before.host.feed(rig.message(String(n)), to('a', 'b', 'c'));
    await rig.spool.kept(true);
  }
  rig = await rig.crash();
  const after = stage(rig, { modules: [spec('a', 2, 0, 'another'), spec('b', 3, 5000)] });
  after.host.feed(rig.message('3'), to('a', 'b'));
  assert.deepEqual(after.put, ['b in 1+2+3']);
  assert.deepEqual(
    after.log.map(({ module, msg }) => `${module}: ${msg}`),
    [
      'a: the module has another query: what it had open is let go',
      'c: the module is gone: what it had open is let go',
    ],
  );
  await rig.spool.kept(true);
  rig = await rig.restart();
  assert.deepEqual(
    rig.spool.companionRecords().map(({ value }) => decodeCheckpoint(value).module),
    ['a', 'b'],
  );
  await rig.close();
});

test('a module that fails stops and says why, the others go on; after a restart it begins anew', async () => {
  let rig = await SpoolRig.open();
  const { host, queries, log, put } = stage(rig, { modules: [spec('bad', 9), spec('worse', 9), spec('good', 3)] });
  const feed = (n: number) => host.feed(rig.message(String(n)), to('bad', 'worse', 'good'));
  feed(1);
  await rig.spool.kept(true);
  queries.get('bad')!.fails = 'feed';
  queries.get('worse')!.fails = 'save';
  feed(2);
  await rig.spool.kept(true);
  feed(3);
  await rig.spool.kept(true);
  assert.deepEqual(put, ['good in 1+2+3']);
  assert.deepEqual(
    host.status().map(({ id, in: taken, fault }) => [id, taken, fault]),
    [
      ['bad', 1, 'a fault of ours'],
      ['worse', 2, 'cannot be saved'],
      ['good', 3, undefined],
    ],
  );
  assert.equal(log.filter(({ msg }) => msg.startsWith('the module has stopped')).length, 2);
  rig = await rig.crash();
  assert.deepEqual(
    rig.spool.companionRecords().map(({ kind, value }) => [kind, decodeCheckpoint(value).module]),
    [[1, 'good']],
  );
  await rig.close();
});

test('a body without fields is counted, and not fed', async () => {
  const rig = await SpoolRig.open();
  const { host } = stage(rig, { modules: [spec('a', 3)] });
  host.feed(rig.message('no number'), to('a'));
  assert.deepEqual(
    host.status().map(({ in: taken, dropped }) => [taken, dropped]),
    [[0, 1]],
  );
  assert.equal(host.bytes, 0);
  await rig.close();
});

test('the journal is bounded: beyond it all modules are written, and it goes', async () => {
  const rig = await SpoolRig.open();
  const { host } = stage(rig, { modules: [spec('large', 1e9, 500_000)] });
  let most = 0;
  for (let n = 0; n < 120; n++) {
    host.feed(rig.message(`${n} ${noise(5000).toString('hex')}`), to('large'));
    await rig.spool.kept(true);
    most = Math.max(most, host.journalBytes);
  }
  assert.ok(most > 200_000 && most <= (8 * 2 ** 20) / 20 + 12_000, `${most} bytes`);
  await rig.audit();
  await rig.close();
});

test('30 s after its last checkpoint a module that was fed is written', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock });
  const { host } = stage(rig, { clock, modules: [spec('large', 1e9, 5000)] });
  const kinds = async (n: number) => {
    host.feed(rig.message(String(n)), to('large'));
    let done = false;
    void rig.spool.kept(true).then(() => (done = true));
    await until('the commit', async () => {
      await clock.flow(1);
      return done;
    });
    return rig.spool.companionRecords().map(({ kind }) => kind);
  };
  assert.deepEqual(await kinds(1), [1]);
  assert.deepEqual(await kinds(2), [1, 2]);
  await clock.flow(29_000);
  assert.deepEqual(await kinds(3), [1, 2, 2]);
  await clock.flow(1000);
  assert.deepEqual(await kinds(4), [1]);
  host.stop();
  const closed = rig.close();
  await clock.flow(5000);
  await closed;
});

test('with a thousand modules on one input a message is in the journal once, and shorter than their states', async () => {
  const rig = await SpoolRig.open();
  const names = Array.from({ length: 1000 }, (_, n) => `module-${n}`);
  const { host } = stage(rig, { modules: names.map((name) => spec(name, 1e9, 100)) });
  host.feed(rig.message('1'), to(...names));
  await rig.spool.kept(true);
  host.feed(rig.message('2'), to(...names));
  await rig.spool.kept(true);
  const journal = rig.spool.companionRecords().filter(({ kind }) => kind === 2);
  assert.equal(journal.length, 1);
  assert.ok(journal[0]!.value.length < 12_000, `${journal[0]!.value.length} bytes`);
  const fed = decodeJournal(journal[0]!.value);
  assert.deepEqual([fed.length, fed[0]!.targets.length], [1, 1000]);
  assert.ok(encodeJournal([fed[0]!, fed[0]!]).length < journal[0]!.value.length + 100);
  host.stop();
  await rig.close();
});

test('a module is told of the time when it asked to be', async () => {
  const clock = new ManualClock();
  const rig = await SpoolRig.open({ clock });
  const { host, queries, put } = stage(rig, { clock, modules: [spec('a', 9)] });
  queries.get('a')!.closesAt = (clock.wall() + 1500) * 1000;
  host.feed(rig.message('1'), to('a'));
  await clock.flow(1499);
  assert.deepEqual(put, []);
  await clock.flow(1);
  assert.deepEqual(put, [`a at ${clock.wall() * 1000} 1`]);
  host.stop();
  const closed = rig.close();
  await clock.flow(5000);
  await closed;
});

test('a wall clock that jumps does not move the timeline; one that becomes known later does, once', async () => {
  const clock = new ManualClock({ wall: Date.UTC(1970, 0, 2), known: false });
  const rig = await SpoolRig.open({ clock });
  const arrivals: [number, boolean][] = [];
  const watching = (): RunningQuery<string> => {
    const query = new Bundles('a', 9);
    const feed = query.feed.bind(query);
    query.feed = (input, event) => {
      arrivals.push([event.arrival / 1000, event.arrivalKnown]);
      return feed(input, event);
    };
    return query;
  };
  const { host, put } = stage(rig, { clock, modules: [{ id: 'a', hash: '', make: watching }] });
  const feed = () => host.feed(rig.message('1'), to('a'));
  const begun = clock.wall();
  feed();
  clock.setWall(Date.UTC(2031, 0, 1));
  await clock.flow(2000);
  feed();
  assert.deepEqual(arrivals.splice(0), [
    [begun, false],
    [begun + 2000, false],
  ]);
  clock.setWall(Date.UTC(2026, 5, 1));
  clock.setKnown(true);
  await clock.flow(1000);
  feed();
  clock.setWall(Date.UTC(2020, 0, 1));
  await clock.flow(500);
  feed();
  assert.deepEqual(arrivals, [
    [Date.UTC(2026, 5, 1) + 1000, true],
    [Date.UTC(2026, 5, 1) + 1500, true],
  ]);
  // It went on: what was open stays open.
  assert.deepEqual(put, []);
  host.stop();
  const closed = rig.close();
  await clock.flow(5000);
  await closed;
});

test('where the timeline was ahead of the time that becomes known, what is open closes with what it has', async () => {
  const clock = new ManualClock({ wall: Date.UTC(2035, 0, 1), known: false });
  let rig = await SpoolRig.open({ clock });
  const first = stage(rig, { clock, modules: [spec('a', 9)] });
  first.host.feed(rig.message('1'), to('a'));
  clock.setWall(Date.UTC(2026, 0, 1));
  clock.setKnown(true);
  await clock.flow(1000);
  assert.deepEqual(first.put, ['a end 1']);
  first.host.feed(rig.message('2'), to('a'));
  first.host.stop();
  let flowing = true;
  const flow = (async () => {
    while (flowing) await clock.flow(50);
  })();
  rig = await rig.restart();
  // The same at a start: what is remembered is later than what is known to be now.
  clock.setWall(Date.UTC(2025, 0, 1));
  const second = stage(rig, { clock, modules: [spec('a', 9)] });
  assert.deepEqual(second.put, ['a end 2']);
  second.host.stop();
  rig = await rig.restart();
  const third = stage(rig, { clock, modules: [spec('a', 9)] });
  third.host.feed(rig.message('3'), to('a'));
  assert.deepEqual(third.put, []);
  third.host.stop();
  await rig.close();
  flowing = false;
  await flow;
});

test('through a restart with a clock that nobody has set the timeline does not run backwards', async () => {
  const clock = new ManualClock();
  let rig = await SpoolRig.open({ clock });
  const seen: number[] = [];
  const watching = (): RunningQuery<string> => {
    const query = new Bundles('a', 99);
    const feed = query.feed.bind(query);
    query.feed = (input, event) => {
      seen.push(event.arrival);
      return feed(input, event);
    };
    return query;
  };
  const modules = [{ id: 'a', hash: '', make: watching }];
  let flowing = true;
  const flow = (async () => {
    while (flowing) await clock.flow(50);
  })();
  const first = stage(rig, { clock, modules });
  first.host.feed(rig.message('1'), to('a'));
  first.host.stop();
  clock.setKnown(false);
  clock.setWall(Date.UTC(2001, 0, 1));
  rig = await rig.restart();
  const second = stage(rig, { clock, modules });
  second.host.feed(rig.message('2'), to('a'));
  assert.ok(seen.length === 2 && seen[1]! >= seen[0]!, String(seen));
  assert.deepEqual(second.put, []);
  second.host.stop();
  await rig.close();
  flowing = false;
  await flow;
});
