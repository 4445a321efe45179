import { nodeRed, NODE_RED_VERSION } from './node-red.ts';
import { table, type Goal, type Report } from './page.ts';
import { interleave, show, spread, type Contender, type Results } from './rounds.ts';
import { DEVICES, WARM_UP } from './rules-bodies.ts';
import type { RulesArgs } from './rules-turn.ts';
import { Worker, type Figures } from './worker.ts';

/** How many events a query takes, beside a loop that was written by hand for the same, and Node-RED. */

export interface RulesSizes {
  readonly rounds: number;
  readonly events: number;
  /** Whether Node-RED has its turns; it is installed for them. */
  readonly nodeRed: boolean;
}

export const RULES: RulesSizes = { rounds: 5, events: 300_000, nodeRed: true };
export const RULES_QUICK: RulesSizes = { rounds: 1, events: 30_000, nodeRed: true };

/** Each event goes through as many modules, so that fewer do. */
const MODULES = 1000;
const MODULE_EVENTS_SHARE = 100;
const LOOP_RATIO_MAX = 3;
const NODE_RED_RATIO_MIN = 5;

const LOOP = 'a loop by hand (the limit)';
const RED = `Node-RED ${NODE_RED_VERSION}`;
const OURS = 'Holdfast';
const COMPARED = ['filter', 'tumbling'] as const;

export async function rules(sizes: RulesSizes): Promise<Report> {
  const red = sizes.nodeRed ? nodeRed() : null;
  if (sizes.nodeRed && red === null) process.stderr.write('  Node-RED cannot be installed here, and is left out\n');
  const { events } = sizes;
  const contenders: Contender[] = COMPARED.flatMap((what) => [
    turn(nameOf(LOOP, what), { case: what, by: 'loop', events }),
    turn(nameOf(OURS, what), { case: what, by: 'engine', events }),
    ...(red === null ? [] : [redTurn(nameOf(RED, what), { folder: red, case: what, events: Math.ceil(events / 4) })]),
  ]);
  const few = Math.ceil(events / MODULE_EVENTS_SHARE);
  contenders.push(
    turn(nameOf(OURS, 'sliding'), { case: 'sliding', by: 'engine', events }),
    turn(nameOf(OURS, 'modules'), { case: 'modules', by: 'engine', events: few }),
    turn(nameOf(OURS, 'memory'), { case: 'memory', by: 'engine', events: 0 }),
  );
  return report(sizes, await interleave(contenders, sizes.rounds), red !== null);
}

function nameOf(contender: string, what: RulesArgs['case']): string {
  return `${contender}: ${what}`;
}

function turn(name: string, args: RulesArgs): Contender {
  return { name, measure: () => measured('rules-turn', args) };
}

function redTurn(name: string, args: object): Contender {
  return { name, measure: () => measured('rules-node-red', args) };
}

async function measured(program: string, args: object): Promise<Figures> {
  return (await Worker.start(program, args, { bundled: true })).go();
}

function report(sizes: RulesSizes, results: Results, withRed: boolean): Report {
  const perSec = (contender: string, what: RulesArgs['case']) =>
    spread(results.values(nameOf(contender, what), 'eventsPerSec'));
  const ratio = (contender: string, other: string, what: RulesArgs['case']) =>
    results.ratio(nameOf(contender, what), nameOf(other, what), 'eventsPerSec');
  const memory = nameOf(OURS, 'memory');
  const who = [OURS, LOOP, ...(withRed ? [RED] : [])];
  return {
    title: 'Rules',
    method: [
      `Readings as the published simulated sensor sends them, about 190 B of JSON each, of ${DEVICES} devices in turn, 1,000 a second by ` +
        `their own time. Each goes in as bytes and what comes out is printed as JSON, without a spool or a broker; events for each second of processor time ` +
        `(all threads of one process), after ${show(WARM_UP)} that are not counted. Filter: \`SELECT device, machine.temperature .. WHERE machine.temperature > 30\`, which half of them ` +
        `pass. Tumbling: the average of 10 s for each device. Sliding: the same in a sliding window of 10 s, with a result for each entry and exit. ` +
        `${sizes.rounds} rounds in turn, ${show(sizes.events)} events each (a quarter for Node-RED), median (least to most).`,
      `The loop is JavaScript for this very query and no other. Node-RED has a JSON node, a function node with the same JavaScript (for the ` +
        `average it keeps the window in its context, as a Map), a JSON node and one that counts, fed in its own process; it does not put ` +
        `events in order, and neither does the loop.`,
    ],
    tables: [
      table(
        ['events a second', 'filter', 'tumbling'],
        who.map((contender) => [contender, ...COMPARED.map((what) => perSec(contender, what))]),
      ),
      table(
        ['', ''],
        [
          ['sliding, events a second', perSec(OURS, 'sliding')],
          [
            `${show(MODULES)} filters on one input, events a second for each`,
            spread(results.values(nameOf(OURS, 'modules'), 'eventsPerSec')),
          ],
          ['heap of a module that has seen nothing, bytes', spread(results.values(memory, 'moduleBytes'))],
          ['heap of a key of a tumbling average, bytes', spread(results.values(memory, 'keyBytes'))],
          ['the same, as the module counts it against its limit', spread(results.values(memory, 'estimated'))],
        ],
      ),
    ],
    goals: COMPARED.flatMap((what): Goal[] => {
      const behind = ratio(LOOP, OURS, what);
      const ahead = ratio(OURS, RED, what);
      const loop = {
        goal: `${what}: the loop is at most ${LOOP_RATIO_MAX} times as fast`,
        measured: show(behind),
        met: behind <= LOOP_RATIO_MAX,
      };
      const red = {
        goal: `${what}: at least ${NODE_RED_RATIO_MIN} times Node-RED`,
        measured: show(ahead),
        met: ahead >= NODE_RED_RATIO_MIN,
      };
      return withRed ? [loop, red] : [loop];
    }),
  };
}
