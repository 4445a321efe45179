import assert from 'node:assert/strict';
import { rfc3339 } from '../../src/dialects/holdfast.ts';
import { parseBody, printBody } from '../../src/query/body-json.ts';
import type { Fields } from '../../src/query/value.ts';
import { Engine, type OutputEvent } from '../../src/rules/engine.ts';
import { chance } from './chance.ts';

/*
 * Modules of every kind, readings that make them work, and a judge who holds what came out of them, whatever happened to the
 * gateway meanwhile, against an engine that nothing happened to.
 *
 * Readings are numbered in the order in which a sensor says them. Every fifth is dark: it goes to modules alone, and nothing else
 * would tell that it was ever there. Two modules put out the numbers that they counted, so what the rules remembered is seen.
 */

const DAY_MS = 86_400_000;
const KEYS = 12;
const DARK_EVERY = 5;
/** How far after all others the last readings are, ms: every window closes. */
const LEAP_MS = 3 * 3_600_000;
/** Arrivals are counted in windows so long, ms; the clocks that are compared there differ by less than the other. */
const ARRIVALS_MS = 200;
const CLOCKS_MS_MAX = 100;

/** Whose windows go by the time in the readings. */
const TIMED: Readonly<Record<string, string>> = {
  tumbling: `SELECT COLLECT(n) AS ns, MAX(v) AS top, System.Timestamp() AS ended INTO output
    FROM input TIMESTAMP BY timeCreated GROUP BY TumblingWindow(second, 10)`,
  hopping: `SELECT key, COUNT(*) AS n, AVG(v) AS mean, MIN(n) AS first, MAX(n) AS last INTO output
    FROM input TIMESTAMP BY timeCreated GROUP BY key, HoppingWindow(second, 60, 20)`,
  sliding: `SELECT COUNT(*) AS n, SUM(n) AS sum INTO output
    FROM input TIMESTAMP BY timeCreated GROUP BY SlidingWindow(second, 3) HAVING COUNT(*) > 6 AND MAX(v) > 95`,
  session: `SELECT key, COUNT(*) AS n, MIN(n) AS first, MAX(n) AS last INTO output
    FROM input TIMESTAMP BY timeCreated GROUP BY key, SessionWindow(second, 8, 90)`,
  lag: `SELECT n, key, v, LAG(n) OVER (PARTITION BY key LIMIT DURATION(hour, 1)) AS before INTO output
    FROM input TIMESTAMP BY timeCreated WHERE v > 96`,
  // Its state is not small, and it seldom says anything: it lives from its journal.
  large: `SELECT name, COUNT(*) AS n, STDEV(v) AS spread, COUNT(DISTINCT key) AS keys INTO output
    FROM input TIMESTAMP BY timeCreated GROUP BY name, TumblingWindow(minute, 4)`,
  dark: `SELECT COLLECT(n) AS ns, SUM(v) AS sum INTO output
    FROM input TIMESTAMP BY timeCreated GROUP BY TumblingWindow(second, 30)`,
  // Goes to the next one only.
  means: `SELECT key, AVG(v) AS mean, COUNT(*) AS n, System.Timestamp() AS ended INTO output
    FROM input TIMESTAMP BY timeCreated GROUP BY key, TumblingWindow(second, 20)`,
  alarms: `SELECT 'write' AS command, CONCAT('cool ', CAST(System.Timestamp() AS nvarchar(max)), ' ', CAST(SUM(n) AS nvarchar(max))) AS line,
      SUM(n) AS n, MAX(mean) AS mean INTO output
    FROM input TIMESTAMP BY ended GROUP BY TumblingWindow(second, 40) HAVING MAX(mean) > 60`,
};

const ARRIVALS = `SELECT COLLECT(n) AS ns INTO output FROM input GROUP BY TumblingWindow(millisecond, ${ARRIVALS_MS})`;

/** As a configuration has them; `commanded` is the child that the alarms tell. */
export function trialModules(commanded: string) {
  const times = { lateArrival: '1d', idle: '1d', outOfOrder: '2s' };
  return [
    ...Object.entries(TIMED).map(([id, query]) => ({ id, query, ...times })),
    { id: 'arrivals', query: ARRIVALS },
  ].map((module) => (module.id === 'alarms' ? { ...module, outputs: { output: [{ command: commanded }] } } : module));
}

/** Modules whose outputs go upstream, each in a lane of its own but the last ones. */
const SHOWN = ['tumbling', 'alarms', 'hopping', 'sliding', 'session', 'lag', 'large', 'dark', 'arrivals'] as const;
type Shown = (typeof SHOWN)[number];

export function trialRoutes() {
  const own = 'NOT IS_DEFINED($connectionModuleId)';
  const plain = `FROM /messages WHERE ${own} AND NOT IS_DEFINED($body.dark) INTO`;
  const to = (module: string) => `BrokeredEndpoint("/modules/${module}/inputs/input")`;
  const fed = ['tumbling', 'hopping', 'sliding', 'session', 'lag', 'large', 'means', 'arrivals'];
  return Object.fromEntries<string | { route: string; priority: number }>([
    ['up', `${plain} $upstream`],
    ...fed.map((module) => [`to-${module}`, `${plain} ${to(module)}`] as const),
    ['to-dark', `FROM /messages WHERE IS_DEFINED($body.dark) INTO ${to('dark')}`],
    ['to-alarms', `FROM /messages/modules/means/outputs/output INTO ${to('alarms')}`],
    ...SHOWN.map(
      (module, n) =>
        [`of-${module}`, { route: `FROM /messages/modules/${module}/* INTO $upstream`, priority: n }] as const,
    ),
  ]);
}

/** What a sensor says as its `n`-th reading. Out of order by up to 1.5 s, and now and then after a silence. */
export function trialReading(begun: number, n: number): Fields {
  const random = chance(n * 7919 + 13);
  const time = begun + n * 400 + Math.floor(n / 97) * 15_000 - Math.floor(random() * 1500);
  const key = `k${Math.floor(random() * KEYS)}`;
  // Names of some length, so that what is remembered of them takes its room.
  const name = `${'name of some length '.repeat(3)}${Math.floor(random() * 60)}`;
  const v = Math.floor(random() * 1000) / 10;
  const dark = n % DARK_EVERY === 0 ? { dark: true } : {};
  return { n, timeCreated: new Date(time).toISOString(), key, name, v, ...dark };
}

/** The last two, a plain one and a dark one: all that was open closes. `n` is the first number that is free. */
export function trialEnd(begun: number, n: number): readonly Fields[] {
  const from = Math.ceil(n / DARK_EVERY) * DARK_EVERY;
  return [from, from + 1].map((number) => ({
    ...trialReading(begun, number),
    timeCreated: new Date(begun + number * 400 + Math.floor(number / 97) * 15_000 + LEAP_MS).toISOString(),
  }));
}

/** When the first reading is to say that it was: none is as old as what would be too late, and none in the future. */
export function trialBegin(): number {
  return Date.now() - DAY_MS + 3_600_000;
}

export interface TrialOutput {
  readonly module: string;
  /** RFC 3339. */
  readonly time: string;
  readonly body: string;
}

export interface TrialStory {
  readonly begun: number;
  /** The number with which each life of the gateway began, rising. */
  readonly lives: readonly number[];
  readonly end: readonly Fields[];
  /** Plain readings as they arrived above: number, and when they were accepted, ms since 1970. */
  readonly readings: ReadonlyMap<number, number>;
  /** Outputs as they arrived above, each message once, in the order of each lane. */
  readonly outputs: readonly TrialOutput[];
  /** Every reading that arrived must be in the windows; false: of each life those up to some moment. */
  readonly allKept: boolean;
}

/** What the judge saw. */
export interface Verdict {
  /** Numbers of the readings that are in the windows. */
  readonly numbers: ReadonlySet<number>;
  /** How many they are, and those that arrived above and are not. */
  readonly kept: number;
  readonly left: number;
  /** Outputs by module. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Numbers that a module collected, in its order. */
function collected(outputs: readonly TrialOutput[], module: Shown): number[] {
  return outputs.filter((output) => output.module === module).flatMap(({ body }) => (JSON.parse(body) as Collected).ns);
}

/** The body of an output that collects numbers. */
export interface Collected {
  readonly ns: readonly number[];
}

/** Holds a story against an undisturbed run over what was kept of it. Throws what is not as it should be. */
export function judge(story: TrialStory): Verdict {
  const { begun, lives, end, readings, outputs, allKept } = story;
  const ends = end.map(({ n }) => n as number);
  const seen = [...collected(outputs, 'tumbling'), ...collected(outputs, 'dark')];
  const kept = new Set([...seen, ...ends]);
  assert.equal(kept.size, seen.length + ends.length, 'a reading is in two windows that do not overlap');
  const arrived = [...readings.keys()];
  let left = 0;
  lives.forEach((from, life) => {
    const to = lives[life + 1] ?? ends[0]!;
    const within = (n: number) => n >= from && n < to;
    const own = [...kept].filter(within).sort((a, b) => a - b);
    // What is on the medium is all up to some moment: no number is missing between the first and the last.
    own.forEach((n, index) => assert.equal(n, own[0]! + index, `life ${life}: ${n - 1} is missing in the windows`));
    const lost = arrived.filter((n) => within(n) && !kept.has(n));
    left += lost.length;
    for (const n of lost) assert.ok(n > (own.at(-1) ?? -1), `life ${life}: ${n} is missing, later ones are not`);
  });
  if (allKept) assert.equal(left, 0, 'readings that arrived are not in the windows');
  for (const n of kept) {
    if (n % DARK_EVERY !== 0) assert.ok(readings.has(n), `reading ${n} is in a window and never arrived`);
  }
  const fed = [...kept]
    .toSorted((a, b) => a - b)
    .map((n) => end.find((reading) => reading['n'] === n) ?? trialReading(begun, n));
  const counts: Record<string, number> = {};
  const expected = undisturbed(fed);
  for (const module of SHOWN) {
    const found = outputs.filter((output) => output.module === module);
    counts[module] = found.length;
    if (module === 'arrivals') checkArrivals(found, fed.map(({ n }) => n as number).filter(plain), readings);
    else assert.deepEqual(found.map(line), expected.get(module)!.map(line), module);
  }
  return { numbers: kept, kept: kept.size, left, counts };
}

function plain(n: number): boolean {
  return n % DARK_EVERY !== 0;
}

function line({ time, body }: TrialOutput): string {
  return `${time} ${body}`;
}

/** Windows by the time of arrival: each once, each reading in one, in that in which it was accepted. */
function checkArrivals(
  found: readonly TrialOutput[],
  fed: readonly number[],
  readings: ReadonlyMap<number, number>,
): void {
  assert.deepEqual(collected(found, 'arrivals'), fed, 'readings in windows of arrival');
  let before = -Infinity;
  for (const { time, body } of found) {
    const ended = Date.parse(time);
    assert.ok(ended > before, `the window of ${time} comes behind a later one`);
    before = ended;
    for (const n of (JSON.parse(body) as Collected).ns) {
      const at = readings.get(n)!;
      const fits = at > ended - ARRIVALS_MS - CLOCKS_MS_MAX && at <= ended + CLOCKS_MS_MAX;
      assert.ok(fits, `reading ${n} of ${rfc3339(at)} is in the window of ${time}`);
    }
  }
}

/** What each module puts out when nothing comes between. */
export function undisturbed(readings: readonly Fields[]): ReadonlyMap<string, readonly TrialOutput[]> {
  const arrival = Date.now() * 1000;
  const engines = new Map(
    Object.entries(TIMED).map(([id, script]) => {
      const options = { lateArrivalMs: DAY_MS, idleMs: DAY_MS, outOfOrderMs: 2000 };
      return [id, Engine.compile({ script, ...options })] as const;
    }),
  );
  const out = new Map<string, TrialOutput[]>([...engines.keys()].map((id) => [id, []]));
  const feed = (id: string, fields: Fields): readonly OutputEvent[] => {
    const events = engines.get(id)!.feed('input', { fields, arrival, arrivalKnown: true });
    for (const { time, body } of events) {
      out.get(id)!.push({ module: id, time: rfc3339(time.ms), body: printBody(body) });
    }
    return events;
  };
  for (const reading of readings) {
    if (reading['dark'] === true) {
      feed('dark', asRead(reading));
      continue;
    }
    for (const id of engines.keys()) {
      if (id === 'dark' || id === 'alarms') continue;
      const events = feed(id, asRead(reading));
      if (id === 'means') for (const { body } of events) feed('alarms', asRead(body));
    }
  }
  return out;
}

/** As it is after a way through a message's body. */
function asRead(fields: Fields): Fields {
  return parseBody(Buffer.from(printBody(fields))) as Fields;
}

/** How many of each module's outputs there are to be, once the end has been put in behind these readings. */
export function expectedCount(begun: number, kept: readonly number[], end: readonly Fields[]): number {
  const out = undisturbed([...kept.map((n) => trialReading(begun, n)), ...end]);
  let count = 0;
  for (const [module, outputs] of out) if (module !== 'means') count += outputs.length;
  return count;
}
