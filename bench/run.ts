import { ACCEPT, ACCEPT_QUICK, accept } from './accept.ts';
import { CLUSTER, CLUSTER_QUICK, cluster } from './cluster.ts';
import { DAY, DAY_QUICK, day } from './day.ts';
import { DRAIN, DRAIN_QUICK, drain } from './drain.ts';
import { FLEET, FLEET_QUICK, fleet } from './fleet.ts';
import { LATENCY, LATENCY_QUICK, latency } from './latency.ts';
import { HUB, HUB_QUICK, hub } from './hub.ts';
import { LOOP, LOOP_QUICK, loop } from './loop.ts';
import { markdown, writeToPage, type Report } from './page.ts';
import { RULES, RULES_QUICK, rules } from './rules.ts';
import { SCALE, SCALE_QUICK, scale } from './scale.ts';
import { START, START_QUICK, start } from './start.ts';
import { WEAR, WEAR_QUICK, wear } from './wear.ts';

/** `npm run bench -- [name...] [--quick]`: prints tables, and writes them into docs/benchmarks.md unless --quick. */

const BENCHES: Record<string, (quick: boolean) => Promise<Report>> = {
  accept: (quick) => accept(quick ? ACCEPT_QUICK : ACCEPT),
  cluster: (quick) => cluster(quick ? CLUSTER_QUICK : CLUSTER),
  day: (quick) => day(quick ? DAY_QUICK : DAY),
  drain: (quick) => drain(quick ? DRAIN_QUICK : DRAIN),
  fleet: (quick) => fleet(quick ? FLEET_QUICK : FLEET),
  latency: (quick) => latency(quick ? LATENCY_QUICK : LATENCY),
  hub: (quick) => hub(quick ? HUB_QUICK : HUB),
  loop: (quick) => loop(quick ? LOOP_QUICK : LOOP),
  rules: (quick) => rules(quick ? RULES_QUICK : RULES),
  scale: (quick) => scale(quick ? SCALE_QUICK : SCALE),
  start: (quick) => start(quick ? START_QUICK : START),
  wear: (quick) => wear(quick ? WEAR_QUICK : WEAR),
};

// Disks and folders are cleared away when the process exits.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

const words = process.argv.slice(2);
const quick = words.includes('--quick');
const names = words.filter((word) => !word.startsWith('--'));
const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0) {
  console.error(`there is no bench ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}`);
  process.exit(2);
}
for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
  console.error(`${name}:`);
  const report = await BENCHES[name]!(quick);
  const text = markdown(report, `npm run bench -- ${name}`);
  console.log(`\n## ${report.title}\n\n${text}\n`);
  if (!quick) writeToPage(name, `## ${report.title}\n\n${text}`);
}
