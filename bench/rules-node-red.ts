import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bodies, WARM_UP } from './rules-bodies.ts';
import { contend, processorTime } from './worker.ts';

/** Node-RED's part of `bench/rules.ts`: a flow of a JSON node, a function node, a JSON node, and a function node that counts. */

export interface NodeRedArgs {
  readonly folder: string;
  readonly case: 'filter' | 'tumbling';
  readonly events: number;
}

/** So many events are under way at a time. */
const BATCH = 1000;

const FUNCTIONS = {
  filter: `
    global.get('tally').seen++;
    const { device, machine } = msg.payload;
    if (!(machine.temperature > 30)) return null;
    msg.payload = { device, temperature: machine.temperature };
    return msg;`,
  tumbling: `
    global.get('tally').seen++;
    let state = context.get('state');
    if (state === undefined) context.set('state', (state = { end: -Infinity, sums: new Map() }));
    const { timeCreated, device, machine } = msg.payload;
    const time = Date.parse(timeCreated);
    const closed = [];
    if (time > state.end) {
      for (const [key, { sum, count }] of state.sums) closed.push({ payload: { device: key, mean: sum / count } });
      state.sums = new Map();
      state.end = Math.ceil(time / 10000) * 10000;
    }
    const known = state.sums.get(device);
    if (known === undefined) state.sums.set(device, { sum: machine.temperature, count: 1 });
    else {
      known.sum += machine.temperature;
      known.count++;
    }
    return closed.length === 0 ? null : [closed];`,
};

interface Runtime {
  init(server: unknown, settings: object): void;
  start(): Promise<void>;
}
interface Nodes {
  readonly _: { readonly nodes: { getNode(id: string): { receive(message: object): void } | null } };
}

await contend(async (args: NodeRedArgs) => {
  const require = createRequire(join(args.folder, 'package.json'));
  const red = require('node-red') as Runtime;
  const { _: runtime } = require('@node-red/runtime') as Nodes;
  const userDir = mkdtempSync(join(tmpdir(), 'holdfast-bench-node-red-'));
  const node = (id: string, type: string, next: string | null, more: object) => ({
    id,
    type,
    z: 'tab',
    wires: [next === null ? [] : [next]],
    ...more,
  });
  const flow = [
    { id: 'tab', type: 'tab', label: 'bench' },
    node('parse', 'json', 'work', { property: 'payload', action: 'obj' }),
    node('work', 'function', 'print', { func: FUNCTIONS[args.case], outputs: 1, libs: [] }),
    node('print', 'json', 'count', { property: 'payload', action: 'str' }),
    node('count', 'function', null, { func: `global.get('tally').bytes += msg.payload.length;`, outputs: 0, libs: [] }),
  ];
  writeFileSync(join(userDir, 'flows.json'), JSON.stringify(flow));
  const tally = { seen: 0, bytes: 0 };
  red.init(createServer(), {
    userDir,
    flowFile: 'flows.json',
    httpAdminRoot: false,
    httpNodeRoot: false,
    functionGlobalContext: { tally },
    logging: { console: { level: 'off', metrics: false, audit: false } },
  });
  await red.start();
  let entry = runtime.nodes.getNode('parse');
  for (; entry === null; entry = runtime.nodes.getNode('parse')) await turn();

  const run = async (given: readonly Buffer[]) => {
    for (let from = 0; from < given.length; from += BATCH) {
      const until = tally.seen + Math.min(BATCH, given.length - from);
      for (const payload of given.slice(from, from + BATCH)) entry.receive({ payload });
      while (tally.seen < until) await turn();
    }
  };
  const given = bodies(args.events + WARM_UP);
  await run(given.slice(0, WARM_UP));
  const measured = given.slice(WARM_UP);
  return async () => {
    const before = tally.bytes;
    const spent = processorTime();
    await run(measured);
    return { eventsPerSec: (measured.length / spent()) * 1e6, bytes: tally.bytes - before };
  };
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
