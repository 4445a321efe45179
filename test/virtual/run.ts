import { existsSync, mkdtempSync, statfsSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { onEnd } from '../parts/block-stack.ts';
import { BOARDS, BOOT } from './boot.ts';
import { HARDWARE } from './hardware.ts';
import { NETWORK } from './network.ts';
import { POWER } from './power.ts';
import { NotHere, type Scenario } from './scenario.ts';
import { SERVICE } from './service.ts';
import { Site } from './site.ts';

/** What scripts/virtual-bench starts: what one card goes through from its first boot on, and cuts. */
const SCENARIOS: readonly Scenario[] = [...BOARDS, ...BOOT, ...NETWORK, ...HARDWARE, ...SERVICE, ...POWER];
/** These may have a site and a card of their own, and go on beside the others: neither asks for haste. */
const ELSEWHERE: ReadonlySet<Scenario> = new Set([...BOARDS, ...POWER]);
/** An emulated machine keeps two processors busy: with fewer than this, two of them at once take as long as one after the other. */
const PROCESSORS_FOR_TWO = 4;

/** Room that a site's card and its machines may take in memory; with less of it they lie on the disk. */
const MEMORY_BYTES_MIN = 6 * 2 ** 30;

interface Row {
  readonly scenario: Scenario;
  readonly verdict: 'as expected' | '**not as expected**' | 'not checked';
  readonly seen: string;
  readonly seconds: number;
}

const { values } = parseArgs({
  options: {
    image: { type: 'string' },
    only: { type: 'string', multiple: true },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    seed: { type: 'string' },
  },
});
if (values.list) {
  for (const { name, done } of SCENARIOS) say(`${name.padEnd(20)}${done}`);
  process.exit(0);
}
const only = values.only?.flatMap((names) => names.split(','));
const unknown = only?.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name)) ?? [];
const { image = '' } = values;
if (unknown.length > 0 || !existsSync(image)) {
  tell(
    unknown.length > 0 ? `there is no scenario ${unknown.join(', ')}; --list names them` : `there is no image ${image}`,
  );
  process.exit(2);
}
const chosen = SCENARIOS.filter(({ name }) => only === undefined || only.includes(name));
const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed);

onEnd(() => undefined);
tell(`image ${image}, seed ${seed}`);
const begin = performance.now();
const apart = availableParallelism() >= PROCESSORS_FOR_TWO ? [false, true] : [null];
const sites = apart
  .map((elsewhere) => chosen.filter((each) => elsewhere === null || ELSEWHERE.has(each) === elsewhere))
  .filter((scenarios) => scenarios.length > 0);
const rows = (await Promise.all(sites.map(atOneSite))).flat();
say(table(rows.toSorted((a, b) => chosen.indexOf(a.scenario) - chosen.indexOf(b.scenario))));
say(`\n${Math.round((performance.now() - begin) / 60_000)} minutes in all, seed ${seed}.`);
process.exitCode = rows.some(({ verdict }) => verdict === '**not as expected**') ? 1 : 0;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** What is not the table. */
function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** One after the other, on one card. */
async function atOneSite(scenarios: readonly Scenario[]): Promise<Row[]> {
  const site = await Site.open(image, roomyFolder(), seed);
  const rows: Row[] = [];
  try {
    for (const scenario of scenarios) {
      const row = await outcome(scenario, site);
      rows.push(row);
      tell(`${row.verdict === 'as expected' ? 'ok ' : row.verdict} ${scenario.name}, ${row.seconds} s: ${row.seen}`);
    }
  } finally {
    const dir = await site.end(values.keep);
    if (values.keep) tell(`the card and what belongs to it stay in ${dir}`);
  }
  return rows;
}

/** In memory where there is room for a card and for what a machine writes, at each site. */
function roomyFolder(): string {
  const memory = '/dev/shm';
  const room = existsSync(memory) ? statfsSync(memory).bavail * statfsSync(memory).bsize : 0;
  const roomy = room > MEMORY_BYTES_MIN * sites.length;
  return mkdtempSync(join(roomy ? memory : tmpdir(), 'holdfast-bench-'));
}

async function outcome(scenario: Scenario, site: Site): Promise<Row> {
  const at = performance.now();
  const row = (verdict: Row['verdict'], seen: string): Row => ({
    scenario,
    verdict,
    seen,
    seconds: Math.round((performance.now() - at) / 1_000),
  });
  try {
    if (scenario.on === 'ready') await site.ready();
    return row('as expected', await scenario.run(site));
  } catch (error) {
    if (error instanceof NotHere) return row('not checked', error.message);
    tell((error as Error).stack ?? String(error));
    // What it left behind is not to be in the way of the next: that one boots.
    if (site.running) await site.machine.cut(site.random);
    return row('**not as expected**', (error as Error).message.split('\n').slice(0, 3).join(' '));
  }
}

function table(done: readonly Row[]): string {
  const line = (...cells: string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [
    line('scenario', 'what was done', 'expected', 'seen', 'seconds'),
    '| --- | --- | --- | --- | ---: |',
    ...done.map(({ scenario: { name, done: what, expected }, verdict, seen, seconds }) =>
      line(name, what, expected, verdict === 'as expected' ? seen : `${verdict}: ${seen}`, String(seconds)),
    ),
  ].join('\n');
}
