import { wrap, type Line, type Painter, type Style } from './demo-paint.ts';
import { HOT, RULED } from './demo-rule.ts';
import type { Scene } from './demo-stage.ts';
import { bytesText, degrees, plural, secondsText, stopwatch, timeOfDay } from './demo-text.ts';
import { arrivalsText } from './demo-verdict.ts';
import type { Arrival } from './demo-watcher.ts';

const SENSORS_SHOWN_MAX = 4;
const ARRIVALS_SHOWN_MAX = 12;
const HAPPENED_SHOWN_MAX = 5;
/** With fewer lines, less of it. */
const ROOM_FOR_HAPPENED = 28;
/** A terminal of so many lines shows everything. */
const TALL = 24;
/** With fewer lines left the log gives way to the arrivals. */
const ROOM_FOR_LOG = 12;
/** An arrival that comes so late is worth a colour, ms. */
const LATE_MS = 2000;
const ARRIVALS_HEAD = 'Latest at the broker           measured       arrived';
const LOG_SHOWN_MAX = 2;
const SPARK_WIDTH_MAX = 40;
/** Where what a row says begins, and where its sparkline does. */
const TEXT_AT = 10;
const SPARK_AT = 42;
/** The temperature axis spans at least so much, so that noise looks like noise, degrees C. */
const DEGREES_SPAN_MIN = 5;
/** So many waiting fill the bar at least, so that one that is on its way looks like little. */
const WAITING_SPAN_MIN = 10;

/** Something to tell, with the time of day. */
export interface Told {
  readonly at: string;
  readonly text: string;
}

export interface FrameContent {
  readonly scene: Scene;
  /** Messages in the spool, second by second. */
  readonly pendingHistory: readonly number[];
  readonly happened: readonly Told[];
  readonly log: readonly (Told & { readonly warning: boolean })[];
  /** Whether there are keys to press. */
  readonly keys: boolean;
  readonly folder: string;
}

/** One picture of the simulation: at most `height` lines of at most `width` characters. What matters least goes first. */
export function frame(content: FrameContent, width: number, height: number, painter: Painter): string[] {
  const { scene } = content;
  const flow: Line[] = height < TALL ? [] : [chain(scene), RULE_LOOP];
  const bottom = footer(content, width);
  const top = [title(scene, width), [], ...flow, ...figures(content, width, painter)].slice(0, height - bottom.length);
  let room = height - top.length - bottom.length;
  const section = (name: string, lines: readonly Line[], max: number): Line[] => {
    const shown = lines.slice(0, Math.max(0, Math.min(max, room - 2)));
    if (shown.length === 0) return [];
    room -= shown.length + 2;
    return [[], [['dim', ` ${name}`]], ...shown];
  };
  // By rank: some of what happened, some arrivals, the log; where there is room, more arrivals.
  const arrived = scene.watcher.latest.toReversed().map(arrivalLine);
  const told = height < TALL ? 3 : height < ROOM_FOR_HAPPENED ? 4 : HAPPENED_SHOWN_MAX;
  const happened = section('What happened', happenedLines(content, width), told);
  const log = room < ROOM_FOR_LOG ? [] : section('Gateway log', logLines(content), LOG_SHOWN_MAX);
  const arrivals = section(ARRIVALS_HEAD, arrived, ARRIVALS_SHOWN_MAX);
  const filler: Line[] = Array.from({ length: Math.max(0, room) }, () => []);
  return [...top, ...arrivals, ...happened, ...log, ...filler, ...bottom]
    .slice(0, height)
    .map((line) => painter.paint(line, width));
}

function title({ runningMs }: Scene, width: number): Line {
  const name = ' Holdfast simulate ';
  const time = stopwatch(runningMs);
  const about = 'made-up sensors, a real gateway, a broker that stands in for the cloud';
  const between = width - name.length - time.length - 2;
  return [['bold', name], ['dim', ` ${about}`.slice(0, Math.max(0, between)).padEnd(between)], ' ', ['dim', time]];
}

/** Under the {@link chain}: the rule needs no network. */
const RULE_LOOP: Line = ['            ', ['green', '└◀─── rule ──┘']];

/** How messages flow, and whether they do. */
function chain({ network }: Scene): Line {
  const open: readonly [Style, string] = network.online ? ['green', '───▶'] : ['red', '─ ✗ ─'];
  return [
    '          ',
    ['bold', 'sensor'],
    ' ',
    ['green', '───▶'],
    ' ',
    ['bold', 'gateway'],
    ' ',
    open,
    ' ',
    ['bold', 'broker'],
  ];
}

function figures({ scene, pendingHistory }: FrameContent, width: number, painter: Painter): Line[] {
  const { sensors, pending, spoolBytes, network, watcher, resets } = scene;
  const sparkWidth = Math.max(0, Math.min(SPARK_WIDTH_MAX, width - SPARK_AT - 1));
  const rows: Line[] = sensors.slice(0, SENSORS_SHOWN_MAX).map(({ id, readings, temperatures }, index) => {
    const shown = temperatures.slice(-sparkWidth);
    const low = Math.min(...shown);
    const spark = painter.sparkline(shown, sparkWidth, low, Math.max(...shown, low + DEGREES_SPAN_MIN));
    const text = `${id}: ${plural(readings, 'reading')}`;
    const temperature = degrees(temperatures.at(-1) ?? null);
    return row(index === 0 ? 'sensors' : '', text.padEnd(22) + temperature.padStart(8), ['yellow', spark]);
  });
  if (sensors.length > SENSORS_SHOWN_MAX) rows.push(row('', `and ${sensors.length - SENSORS_SHOWN_MAX} more`));
  const last = resets.lastAt === null ? '' : `, the last ${secondsText(scene.now - resets.lastAt)} ago`;
  rows.push(row('rule', `${RULED} above ${degrees(HOT)}: ${plural(resets.done, 'reset')}${last}`));
  const most = Math.max(WAITING_SPAN_MIN, ...pendingHistory.slice(-sparkWidth));
  const spark = painter.sparkline(pendingHistory, sparkWidth, 0, most);
  rows.push(row('spool', `${pending} waiting, ${bytesText(spoolBytes)} on disk`, ['cyan', spark]));
  rows.push(row('network', ...networkText(network)));
  const { arrivals } = watcher;
  const good = arrivals.missing === 0 && arrivals.outOfOrder === 0;
  rows.push(row('broker', [['bold', good ? 'green' : 'red'], arrivalsText(arrivals)]));
  return rows;
}

function networkText({ online, cut, forMs, retryInMs, url }: Scene['network']): Line {
  if (online) return [['green', '● online'], ` for ${secondsText(forMs)}  `, ['dim', url]];
  const retry = retryInMs === null ? 'trying' : `retry in ${secondsText(retryInMs)}`;
  return [['red', '○ offline'], ` for ${secondsText(forMs)}, ${retry}${cut ? '; you cut it' : ''}`];
}

/** A row of figures: its name, and what it says; a second span begins where the sparklines do. */
function row(name: string, ...spans: Line): Line {
  const [first, ...others] = spans;
  const label: Line = [' ', ['dim', name.padEnd(TEXT_AT - 1)]];
  if (typeof first !== 'string' || others.length === 0) return [...label, ...spans];
  return [...label, first.padEnd(SPARK_AT - TEXT_AT), ...others];
}

function arrivalLine({ from, seq, eventTime, ageMs, temperature, reset, arrived }: Arrival): Line {
  const said = reset === null ? degrees(temperature) : 'reset';
  const measured = eventTime === null ? '' : timeOfDay(eventTime);
  const text = `${`#${seq}`.padStart(8)}  ${from.padEnd(8)} ${said.padStart(8)}   ${measured.padEnd(8)}`;
  const after = (ageMs === null ? '' : `${secondsText(ageMs)} later`).padStart(14);
  const late = ageMs !== null && ageMs >= LATE_MS;
  const original: Line = reset === null ? [] : [['dim', `   maxEventTime ${timeOfDay(Date.parse(reset))}`]];
  const wrong: Line = arrived === 'new' ? [] : ['  ', ['red', arrived]];
  return [text, late ? ['yellow', after] : after, ...original, ...wrong];
}

function happenedLines({ happened }: FrameContent, width: number): Line[] {
  const lines: Line[] = [];
  // The newest come first, as many as fit whole.
  for (const { at, text } of happened.toReversed()) {
    const parts = wrap(text, Math.max(20, width - 14));
    if (lines.length > 0 && lines.length + parts.length > HAPPENED_SHOWN_MAX) break;
    parts.forEach((part, index) => lines.push([['dim', `  ${(index === 0 ? at : '').padEnd(10)}`], part]));
  }
  return lines;
}

function logLines({ log }: FrameContent): Line[] {
  return log.slice(-LOG_SHOWN_MAX).map(({ at, text, warning }) => [
    ['dim', `  ${at.padEnd(10)}`],
    [warning ? 'yellow' : 'dim', text],
  ]);
}

function footer({ scene, keys, folder }: FrameContent, width: number): Line[] {
  const files = `files: ${folder}`;
  if (!keys) return [[], [' Ctrl-C quits   ', ['dim', files]]];
  const hint = wrap(hintText(scene), Math.max(20, width - 2)).map((text): Line => [' ', ['cyan', text]]);
  const cut = `${scene.network.cut ? ' restores' : ' cuts'} the network   `;
  const help: Line = [' ', ['bold', 'o'], cut, ['bold', 'r'], ' cools the sensor   ', ['bold', 'q'], ' quits'];
  // A path that is cut off is of no use.
  const left = width - help.reduce((sum, span) => sum + (typeof span === 'string' ? span : span[1]).length, 0);
  return [[], ...hint, left < files.length + 3 ? help : [...help, '   ', ['dim', files]]];
}

/** What a newcomer may do next. */
function hintText({ network, outages }: Scene): string {
  if (network.cut) {
    return 'Readings and the rule go on, and all is kept on disk. Press o to bring the network back, and watch it arrive.';
  }
  const last = outages.at(-1);
  if (last === undefined) return 'Press o to cut the network, and watch what happens.';
  if (last.caughtUpAt === null) return 'The network is back: what was kept goes out, oldest first.';
  return 'Everything arrived, with the time at which it was measured. Press o to cut the network again.';
}
