import { REASONS } from '../above/rejections.ts';
import { DROP_REASONS, REFUSAL_REASONS } from '../message/loss.ts';
import { droppedOf } from '../spool/ledger.ts';
import type { AccountStats, SpoolStats } from '../spool/stats.ts';
import type { Status } from './status.ts';

type Labels = Readonly<Record<string, string | number>>;
type Sample = readonly [value: number | boolean | null, labels?: Labels];

/** Every state that the upstream can be in. */
const UPSTREAM_STATES = ['stopped', 'connecting', 'waiting', 'online'] as const;

/**
 * What a gateway counts, in the text format of Prometheus (version 0.0.4, exposition_formats.md). Totals are of the ledger: they
 * outlive restarts. Bounded: at most 514 children have an account of their own.
 */
export function metricsText(status: Status, stats: SpoolStats): string {
  const text = new Exposition();
  whole(text, status);
  messages(text, stats);
  lanes(text, stats);
  children(text, stats);
  hub(text, status);
  commands(text, status);
  modules(text, status);
  storage(text, status, stats);
  upstream(text, status);
  board(text, status);
  return text.end();
}

function whole(
  text: Exposition,
  { gateway, version, profile, safeMode, uptimeSecs, clock, children: each, memory }: Status,
): void {
  text.gauge('info', 'Which gateway this is; always 1.', [[1, { gateway, version, profile }]]);
  text.gauge('uptime_seconds', 'How long the gateway has been running.', [[uptimeSecs]]);
  text.gauge('safe_mode', 'Whether it is in safe mode after repeated crashes (1) or not (0).', [[safeMode !== null]]);
  text.gauge('clock_known', 'Whether the time is known (1) or not (0).', [[clock.known]]);
  text.gauge('memory_rss_bytes', 'Memory that the process takes.', [[memory.rssBytes]]);
  text.gauge('children', 'Children in the configuration.', [[each.total]]);
  text.gauge('children_running', 'Children whose drivers run.', [[each.running]]);
}

function messages(text: Exposition, { ledger, epoch }: SpoolStats): void {
  text.counter('messages_accepted_total', 'Messages taken on.', [[ledger.accepted]]);
  text.counter('messages_delivered_total', 'Messages that the upstream acknowledged.', [[ledger.delivered]]);
  text.counter('messages_unmatched_total', 'Delivered messages that nobody had subscribed to.', [[ledger.unmatched]]);
  text.gauge('messages_pending', 'Messages that wait for the upstream.', [[ledger.pending]]);
  text.gauge('dead_letters', 'Messages kept apart, which the upstream will never take.', [[ledger.deadLetters]]);
  text.counter(
    'messages_dropped_total',
    'Messages let go after they were taken on.',
    DROP_REASONS.map((reason) => [ledger.dropped[reason] ?? 0, { reason }]),
  );
  text.counter(
    'messages_refused_total',
    'Messages turned away at the door.',
    REFUSAL_REASONS.map((reason) => [ledger.refused[reason] ?? 0, { reason }]),
  );
  text.gauge('epoch', 'The epoch of the numbers that messages get.', [[epoch]]);
}

function lanes(text: Exposition, { lanes: all }: SpoolStats): void {
  const each = (value: (lane: (typeof all)[number]) => number | null): Sample[] =>
    all.map((lane) => [value(lane), { lane: lane.lane }]);
  text.gauge(
    'lane_pending',
    'Messages that wait, by lane.',
    each(({ pending }) => pending),
  );
  text.gauge(
    'lane_oldest_age_seconds',
    'How long the oldest of a lane has waited.',
    each(({ oldestAgeSecs }) => oldestAgeSecs),
  );
  text.counter(
    'lane_accepted_total',
    'Messages taken on, by lane.',
    each(({ accepted }) => accepted),
  );
  text.counter(
    'lane_delivered_total',
    'Messages that the upstream acknowledged, by lane.',
    each(({ delivered }) => delivered),
  );
  text.counter('lane_dropped_total', 'Messages let go, by lane.', each(droppedOf));
}

function children(text: Exposition, { children: all }: SpoolStats): void {
  const each = (value: (account: AccountStats) => number): Sample[] =>
    Object.entries(all).map(([child, account]) => [value(account), { child }]);
  text.counter(
    'child_accepted_total',
    'Messages taken on, by child.',
    each(({ accepted }) => accepted),
  );
  text.counter(
    'child_delivered_total',
    'Messages that the upstream acknowledged, by child.',
    each(({ delivered }) => delivered),
  );
  text.gauge(
    'child_pending',
    'Messages that wait, by child.',
    each(({ pending }) => pending),
  );
  text.counter('child_dropped_total', 'Messages let go, by child.', each(droppedOf));
}

function hub(text: Exposition, { hub: now }: Status): void {
  if (now === null) return;
  text.gauge('hub_registered', 'Children that may connect, their modules included.', [[now.registered]]);
  text.gauge('hub_connected', 'Children and modules that are connected.', [[now.connected]]);
  text.gauge('hub_queued', 'Messages that wait for children.', [[now.queued]]);
  text.gauge('hub_full', 'Children and modules whose mailbox has no room for more.', [[now.fullCount]]);
  text.counter('hub_dropped_total', 'Messages for children that were let go since the start.', [[now.dropped]]);
  text.counter(
    'hub_refused_total',
    'What was refused to those who connect, by what it was, since the start.',
    Object.entries(now.refused).map(([what, count]) => [count, { what }]),
  );
}

function commands(text: Exposition, { commands: now }: Status): void {
  if (now === null) return;
  text.counter(
    'commands_refused_total',
    'Messages from above for children that were refused for good since the start.',
    REASONS.map((reason) => [now.refused[reason], { reason }]),
  );
}

function modules(text: Exposition, { modules: all }: Status): void {
  const each = (value: (module: (typeof all)[number]) => number | boolean): Sample[] =>
    all.map((module) => [value(module), { module: module.id }]);
  const counters = [
    ['in', 'Messages that a module was fed.', (module) => module.in],
    ['out', 'Messages that a module put out.', (module) => module.out],
    ['late', 'Messages that came later than lateArrival allows.', (module) => module.late],
    ['early', 'Messages from the future, that came more than 5 min before they happened.', (module) => module.early],
    ['unordered', 'Messages that came out of order by more than outOfOrder allows.', (module) => module.unordered],
    ['dropped', 'Messages or results that a module could not work out.', (module) => module.dropped],
    ['refused', "Messages that found no room within a module's limits.", (module) => module.bounded],
  ] as const satisfies readonly (readonly [string, string, (module: (typeof all)[number]) => number])[];
  for (const [name, help, value] of counters) text.counter(`module_${name}_total`, help, each(value));
  text.gauge(
    'module_held_bytes',
    'What a module remembers, about.',
    each(({ held }) => held.bytes),
  );
  text.gauge(
    'module_groups',
    'Groups that are open in a module.',
    each(({ held }) => held.groups),
  );
  text.gauge(
    'module_stopped',
    'A module has stopped (1).',
    each(({ fault }) => fault !== undefined),
  );
}

function storage(text: Exposition, { spool }: Status, { wear }: SpoolStats): void {
  const { fileBytes, quotaBytes, livePages, pageBytes, filling, full, fault, waitingBytes, shrinkPending, lossRows } =
    spool;
  text.gauge('spool_file_bytes', "Length of the spool's file.", [[fileBytes]]);
  text.gauge('spool_quota_bytes', 'What everything under dataDir may take.', [[quotaBytes]]);
  text.gauge('spool_live_bytes', 'What is in use of the file.', [[livePages * pageBytes]]);
  text.gauge('spool_filling_target_bytes', 'What the file is filled up to.', [[filling.targetBytes]]);
  text.gauge('spool_filling_held', 'Others have filled the disk: the file cannot grow (1).', [[filling.held]]);
  text.gauge('spool_full', 'There is no room for more without something being let go (1).', [[full]]);
  text.gauge('spool_fault', 'The last commit failed (1).', [[fault !== null]]);
  text.gauge('spool_waiting_bytes', 'What waits for the medium in memory.', [[waitingBytes]]);
  text.gauge('spool_shrink_pending', 'The file is larger than a lowered quota (1).', [[shrinkPending]]);
  text.gauge('spool_loss_rows', 'Rows of losses that wait to be reported.', [[lossRows]]);
  text.gauge('wear_bytes_per_day', 'What is written to the medium in a day, at the rate since the start.', [
    [wear.bytesPerDay],
  ]);
  text.gauge('wear_bytes_per_payload_byte', 'What is written to the medium for each byte of message.', [
    [wear.bytesPerPayloadByte],
  ]);
  text.gauge('wear_measured', 'Wear is counted by the block device (1) or estimated (0).', [[wear.measured]]);
  text.gauge('wear_budget_bytes_per_day', 'What may be written in a day.', [[wear.budget?.bytesPerDay ?? null]]);
  text.gauge('wear_budget_kept', 'The budget is kept (1).', [[wear.budget?.kept ?? null]]);
}

function upstream(text: Exposition, { upstream: now }: Status): void {
  if (now === null) return;
  text.gauge(
    'upstream_state',
    'The state that the connection is in has 1.',
    UPSTREAM_STATES.map((state) => [now.state === state, { state }]),
  );
  text.counter('upstream_attempts_total', 'Attempts to connect since the start.', [[now.attempts]]);
  text.counter('upstream_sent_total', 'Messages sent since the start, repeats included.', [[now.sent]]);
  text.gauge('upstream_in_flight', 'Messages sent and not acknowledged yet.', [[now.inFlight]]);
  text.gauge('upstream_stalled_seconds', 'How long the broker has acknowledged nothing; from a minute on.', [
    [now.stalledSecs ?? 0],
  ]);
  text.gauge('upstream_waits_for_clock', 'Messages wait for the time to become known (1).', [[now.waitsForClock]]);
  text.gauge('upstream_waits_for_rate', 'upstream.maxRate holds messages back (1).', [[now.waitsForRate]]);
}

function board(text: Exposition, { board: now }: Status): void {
  const { temperatureCelsius, power, memory, disk, age, life, silentSecs, over } = now;
  text.gauge('board_temperature_celsius', "The processor's temperature.", [[temperatureCelsius]]);
  text.gauge('board_under_voltage', 'The supply gives too little voltage (1).', [[power.underVoltage]]);
  text.gauge('board_throttled', 'The processor is slowed down (1).', [[power.throttled]]);
  text.gauge('board_memory_available_bytes', 'Memory that programs can still have.', [
    [memory?.availableBytes ?? null],
  ]);
  text.gauge('board_disk_available_bytes', 'What is free where dataDir is.', [[disk?.availableBytes ?? null]]);
  text.gauge('board_disk_used_bytes', 'What is in use where dataDir is.', [[disk?.usedBytes ?? null]]);
  text.gauge('board_medium_used_percent', 'How much of its life an eMMC says it has used.', [[age.usedPercent]]);
  text.gauge('board_filesystem_errors', "Errors that dataDir's filesystem has met.", [[age.filesystemErrors]]);
  text.gauge('board_medium_days_left', 'Days until the rated endurance is used up at this rate.', [[life.daysLeft]]);
  text.gauge(
    'child_silent_seconds',
    'How long a wired child has given no good reading.',
    Object.entries(silentSecs).map(([child, secs]) => [secs, { child }]),
  );
  text.gauge(
    'limit_over',
    'A limit of `health.limits` is not kept: always 1.',
    over.map(({ what }) => [1, { limit: what }]),
  );
}

/** Puts samples into lines; a metric without any is left out. */
class Exposition {
  #lines: string[] = [];

  gauge(name: string, help: string, samples: readonly Sample[]): void {
    this.#metric('gauge', name, help, samples);
  }

  counter(name: string, help: string, samples: readonly Sample[]): void {
    this.#metric('counter', name, help, samples);
  }

  end(): string {
    return `${this.#lines.join('\n')}\n`;
  }

  #metric(type: 'gauge' | 'counter', name: string, help: string, samples: readonly Sample[]): void {
    const known = samples.filter(([value]) => value !== null);
    if (known.length === 0) return;
    const full = `holdfast_${name}`;
    this.#lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`);
    for (const [value, labels = {}] of known) this.#lines.push(`${full}${labelsText(labels)} ${Number(value)}`);
  }
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** A backslash, a quote and an end of line are escaped in a label's value, and nothing else. */
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
