import v8 from 'node:v8';
import vm from 'node:vm';
import { parseBody, printBody } from '../src/query/body-json.ts';
import type { Fields } from '../src/query/value.ts';
import { Engine } from '../src/rules/engine.ts';
import { bodies, DEVICES, START_MS, WARM_UP } from './rules-bodies.ts';
import { contend, processorTime, type Figures } from './worker.ts';

/** A contender's part of `bench/rules.ts`: bodies go in as bytes, and what comes out is printed. */

export type RulesCase = 'filter' | 'tumbling' | 'sliding' | 'modules' | 'memory';

export interface RulesArgs {
  readonly case: RulesCase;
  readonly by: 'engine' | 'loop';
  readonly events: number;
}

const FILTER =
  'SELECT device, machine.temperature AS temperature FROM input TIMESTAMP BY timeCreated WHERE machine.temperature > 30';
const TUMBLING =
  'SELECT device, Avg(machine.temperature) AS mean FROM input TIMESTAMP BY timeCreated GROUP BY device, TumblingWindow(second, 10)';
const SLIDING =
  'SELECT device, Avg(machine.temperature) AS mean FROM input TIMESTAMP BY timeCreated GROUP BY device, SlidingWindow(second, 10)';
const MODULES = 1000;

type Run = (body: Buffer) => number;

/** Feeds bodies to a query; how many bytes came out. */
function engine(script: string): Run {
  const query = Engine.compile({ script });
  return (body) => {
    const fields = parseBody(body) as Fields;
    let bytes = 0;
    for (const event of query.feed('input', { fields, arrival: 0, arrivalKnown: false }))
      bytes += printBody(event.body).length;
    return bytes;
  };
}

function modules(): Run {
  const queries = Array.from({ length: MODULES }, (_, index) =>
    Engine.compile({ script: FILTER.replace('> 30', `> ${30 + (index % 10)}`) }),
  );
  return (body) => {
    const fields = parseBody(body) as Fields;
    let bytes = 0;
    for (const query of queries) {
      for (const event of query.feed('input', { fields, arrival: 0, arrivalKnown: false }))
        bytes += printBody(event.body).length;
    }
    return bytes;
  };
}

interface Reading {
  readonly timeCreated: string;
  readonly device: string;
  readonly machine: { readonly temperature: number };
}

/** What somebody would write by hand for {@link FILTER}. */
function filterLoop(): Run {
  return (body) => {
    const { device, machine } = JSON.parse(body.toString()) as Reading;
    return machine.temperature > 30 ? JSON.stringify({ device, temperature: machine.temperature }).length : 0;
  };
}

/** ... and for {@link TUMBLING}. */
function tumblingLoop(): Run {
  const size = 10_000;
  let end = -Infinity;
  let sums = new Map<string, { sum: number; count: number }>();
  return (body) => {
    const { timeCreated, device, machine } = JSON.parse(body.toString()) as Reading;
    const time = Date.parse(timeCreated);
    let bytes = 0;
    if (time > end) {
      for (const [key, { sum, count }] of sums) bytes += JSON.stringify({ device: key, mean: sum / count }).length;
      sums = new Map();
      end = Math.ceil(time / size) * size;
    }
    const known = sums.get(device);
    if (known === undefined) sums.set(device, { sum: machine.temperature, count: 1 });
    else {
      known.sum += machine.temperature;
      known.count++;
    }
    return bytes;
  };
}

function runOf({ case: what, by }: RulesArgs): Run {
  if (by === 'loop') return what === 'filter' ? filterLoop() : tumblingLoop();
  if (what === 'modules') return modules();
  return engine({ filter: FILTER, tumbling: TUMBLING, sliding: SLIDING, memory: TUMBLING }[what]);
}

/** Bytes of the heap that are in use. */
function heap(): number {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

/** What a module takes that does nothing yet, and a key of a tumbling average. */
function memory(): Figures {
  const before = heap();
  const queries = Array.from({ length: MODULES }, () => Engine.compile({ script: TUMBLING }));
  const made = heap();
  for (const query of queries.slice(0, 100)) {
    for (let device = 0; device < DEVICES; device++) {
      const fields = {
        timeCreated: new Date(START_MS).toISOString(),
        device: `d-${device}`,
        machine: { temperature: 20.5 },
      };
      query.feed('input', { fields, arrival: 0, arrivalKnown: false });
    }
  }
  const fed = heap();
  const estimated = queries[0]!.held.bytes / DEVICES;
  return { moduleBytes: (made - before) / MODULES, keyBytes: (fed - made) / (100 * DEVICES), estimated };
}

await contend((args: RulesArgs) => {
  if (args.case === 'memory') return Promise.resolve(() => Promise.resolve(memory()));
  const run = runOf(args);
  // Each event goes through all the modules.
  const warmUp = args.case === 'modules' ? WARM_UP / MODULES : WARM_UP;
  const given = bodies(args.events + warmUp);
  let warm = 0;
  for (const body of given.slice(0, warmUp)) warm += run(body);
  const measured = given.slice(warmUp);
  return Promise.resolve(() => {
    const spent = processorTime();
    let bytes = 0;
    for (const body of measured) bytes += run(body);
    return Promise.resolve({ eventsPerSec: (measured.length / spent()) * 1e6, bytes, warm });
  });
});
