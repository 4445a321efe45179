import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { writtenBelow } from '../../bench/disk.ts';
import { pendingOf } from '../../src/spool/books.ts';
import { lookAtSpool } from '../../src/spool/files.ts';
import { verify } from '../../src/spool/inspection.ts';
import { restOf } from '../../src/spool/ledger.ts';
import type { AccountStats } from '../../src/spool/stats.ts';
import { FieldClock } from './field-clock.ts';
import { HOUR, PLANS, type Plan } from './field-plan.ts';
import { QUOTA_BYTES, FieldSite } from './field-site.ts';
import type { Sample } from './field-samples.ts';
import { until } from './until.ts';

/*
 * A day in a gateway's life, at a clock of its own: runs as a program in a world of field-clock.ts, and says what came of it as
 * JSON lines. Arguments: the plan, where the gateway's log shall be kept, and the filesystem for its
 * data.
 */

/** Longest that anything is waited for, ms. */
const WAIT_MS_MAX = 1_800_000;
/** How often the process is looked at in the end. */
const CALM_LOOKS = 3;

/** What a day came to. */
export interface DayResult {
  readonly hours: number;
  readonly kills: number;
  readonly samples: readonly Sample[];
  readonly quotaBytes: number;
  /** What reached the device below the gateway's data, and in how many hours; null: there is none. */
  readonly medium: { readonly hours: number; readonly bytes: number; readonly flushes: number } | null;
  /** What is wrong with the spool in the end. */
  readonly problems: readonly string[];
  readonly ledger: AccountStats;
  readonly children: Readonly<Record<string, AccountStats>>;
  /** What was seen above. */
  readonly above: {
    readonly arrived: number;
    readonly repeats: number;
    readonly outOfOrder: number;
    readonly contradictions: number;
    readonly missing: number;
    readonly unreported: number;
    readonly reported: Readonly<Record<string, number>>;
    readonly children: Readonly<Record<string, number>>;
  };
  readonly connected: readonly {
    readonly id: string;
    readonly said: number;
    readonly acknowledged: number;
    /** Acknowledged, and not seen above. */
    readonly absent: number;
    /** Came again under another number: said again, since it was not acknowledged. */
    readonly twice: number;
    readonly connections: number;
  }[];
  readonly orders: { readonly given: number; readonly missing: readonly string[] };
  readonly methods: { readonly called: number; readonly answered: number; readonly done: number };
  /** How often the rule switched the fan on. */
  readonly fan: number;
  readonly logLines: number;
  /** Lines at level error and above. */
  readonly errors: readonly string[];
  readonly warnings: Readonly<Record<string, number>>;
}

/** What it says: what is about to happen, and in the end what came of it all. */
export type DaySaid = { readonly happening: Happening } | { readonly result: DayResult };
export interface Happening {
  readonly hour: number;
  readonly what: string;
}

function say(line: DaySaid): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** What the plan does not name goes on beside it. */
async function lived(site: FieldSite, clock: FieldClock, plan: Plan): Promise<void> {
  const begun = site.hour * HOUR;
  let over = false;
  const sampling = (async () => {
    for (let n = 0; !over; n++) {
      await site.sample(n % plan.liveEvery === 0);
      await sleep(plan.sampleEveryMs);
    }
  })();
  const ordering = (async () => {
    while (!over) {
      await site.order();
      await sleep(plan.orderEveryMs);
    }
  })();
  for (const { at, what, deed } of plan.events) {
    await sleep(Math.max(0, begun + at - site.hour * HOUR));
    say({ happening: { hour: site.hour, what } });
    site.busy = true;
    await deed(site, clock);
    site.busy = false;
  }
  await sleep(Math.max(plan.restMs, begun + plan.ms - site.hour * HOUR));
  over = true;
  await Promise.all([sampling, ordering]);
  // Whatever was late: it ends with a few looks at a gateway that has all it needs, and with an order that must be answered.
  for (let n = 1; n <= CALM_LOOKS; n++) {
    await site.whole();
    await site.sample(n === CALM_LOOKS);
  }
  const { answered } = site.methods;
  await site.order();
  await until('an answer', () => site.methods.answered > answered, WAIT_MS_MAX);
  await until(
    () => `commands: ${site.missingOrders().join(', ')}`,
    () => site.missingOrders().length === 0,
    WAIT_MS_MAX,
  );
}

/** Everybody falls silent, everything is sent, and the books are held against what was seen above. */
async function closed(
  site: FieldSite,
): Promise<Omit<DayResult, 'hours' | 'medium' | 'logLines' | 'errors' | 'warnings'>> {
  for (const child of site.children) child.hush();
  await until(
    () =>
      `acknowledgements: ${site.children.map(({ id, said, acknowledged }) => `${id} ${acknowledged.size} of ${said}`).join(', ')}`,
    () => site.children.every(({ said, acknowledged }) => acknowledged.size === said),
    WAIT_MS_MAX,
  );
  await site.stop();
  // Nobody is left who says something: it sends what it has.
  await site.start(site.silentYaml());
  await until('the rest to be sent', async () => (await site.status()).ledger.pending === 0, WAIT_MS_MAX);
  await until('the last report', async () => (await site.status()).spool.lossRows === 0, WAIT_MS_MAX);
  await site.stop();
  const { account } = site;
  const { ledger, children, problems } = await lookAtSpool(site.dataDir, (reader, books) => ({
    problems: verify(reader, books).problems.map(String),
    ledger: { ...books.ledger, pending: pendingOf(books) },
    children: Object.fromEntries(
      [...books.children.entries()].map(([id, each]) => [id, { ...each, pending: restOf(each) }] as const),
    ),
  }));
  await account.until(
    () => `${ledger.delivered} messages; ${account.arrived} are there`,
    () => account.arrived >= ledger.delivered,
    WAIT_MS_MAX,
  );
  const fan = site.lines.meter.told.filter((line) => line === 'fan on').length;
  return {
    kills: site.kills,
    samples: site.samples,
    quotaBytes: QUOTA_BYTES,
    problems,
    ledger,
    children,
    above: {
      arrived: account.arrived,
      repeats: account.repeats,
      outOfOrder: account.outOfOrder,
      contradictions: account.contradictions,
      ...account.gaps(),
      reported: account.reported(),
      children: Object.fromEntries(account.children),
    },
    connected: site.children.map(({ id, said, acknowledged, connections }) => {
      const seen = account.said.get(id) ?? new Map<number, number>();
      return {
        id,
        said,
        acknowledged: acknowledged.size,
        absent: [...acknowledged].filter((n) => !seen.has(n)).length,
        twice: [...seen.values()].filter((times) => times > 1).length,
        connections,
      };
    }),
    orders: {
      given: site.orders.length,
      missing: site.missingOrders(),
    },
    methods: site.methods,
    fan,
  };
}

async function day(plan: Plan, folder: string | undefined): Promise<DayResult> {
  const clock = new FieldClock();
  const site = new FieldSite(folder);
  // A filesystem in memory has no device that counts.
  const device = () => (folder === undefined ? null : writtenBelow(folder));
  try {
    await site.open();
    const begun = site.hour;
    const before = device();
    await lived(site, clock, plan);
    const after = device();
    const medium =
      before === null || after === null
        ? null
        : { hours: site.hour - begun, bytes: after.bytes - before.bytes, flushes: after.flushes - before.flushes };
    const hours = site.hour;
    const result = await closed(site);
    const lines = site.logged.map((line) => JSON.parse(line) as { level: number; msg: string });
    const warnings: Record<string, number> = {};
    for (const { level, msg } of lines) if (level === 40) warnings[msg] = (warnings[msg] ?? 0) + 1;
    const errors = lines.filter(({ level }) => level >= 50).map(({ msg }) => msg);
    return { hours, ...result, medium, logLines: lines.length, errors, warnings };
  } finally {
    if (logFile !== undefined) writeFileSync(logFile, `${site.logged.join('\n')}\n`);
    await site.end();
    clock.close();
  }
}

const [, , planned, logFile, folder] = process.argv;
const plan = PLANS[planned ?? ''];
if (plan === undefined) throw new Error(`name one of ${Object.keys(PLANS).join(', ')}`);
say({ result: await day(plan, folder) });
process.exit(0);
