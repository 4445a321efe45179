import { wrap, type Line, type Painter, type Style } from './demo-paint.ts';
import type { Scene } from './demo-stage.ts';
import { bytesText, degrees, plural, secondsText, stopwatch, timeOfDay } from './demo-text.ts';
import { arrivalsText } from './demo-verdict.ts';
import type { Arrival } from './demo-watcher.ts';

const SENSORS_SHOWN_MAX = 4;
const ARRIVALS_SHOWN_MAX = 10;
const HAPPENED_SHOWN_MAX = 6;
const LOG_SHOWN_MAX = 4;
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
  const top: Line[] = [title(scene, width), [], chain(scene), [], ...figures(content, width, painter)];
  const bottom = footer(content, width);
  let room = height - top.length - bottom.length;
  const take = (lines: Line[], max: number): Line[] => {
    const taken = lines.slice(0, Math.max(0, Math.min(max, room)));
    room -= taken.length;
    return taken;
  };
  // By rank: first what happened, then a few arrivals, then the log, and more arrivals where there is room.
  const happened = take(section('What happened', happenedLines(content, width)), HAPPENED_SHOWN_MAX + 2);
  const arrivals = scene.watcher.latest.slice(-ARRIVALS_SHOWN_MAX).toReversed().map(arrivalLine);
  const head: Line[] = [[], [['dim', ' Latest at the broker']]];
  const enough = room > head.length;
  const first = enough ? take([...head, ...arrivals], Math.max(4, room - LOG_SHOWN_MAX - 2)) : [];
  const log = take(section('Gateway log', logLines(content)), LOG_SHOWN_MAX + 2);
  const filler: Line[] = Array.from({ length: Math.max(0, room) }, () => []);
  return [...top, ...first, ...happened, ...log, ...filler, ...bottom]
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
  const { sensors, pending, spoolBytes, network, watcher } = scene;
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

function section(name: string, lines: Line[]): Line[] {
  return lines.length === 0 ? [] : [[], [['dim', ` ${name}`]], ...lines];
}

function arrivalLine({ child, seq, eventTime, ageMs, temperature, arrived }: Arrival): Line {
  const measured = eventTime === null ? '' : `measured ${timeOfDay(eventTime)}`;
  const age = ageMs === null ? '' : `${secondsText(ageMs)} ago`;
  const late: Line = ageMs !== null && ageMs >= 2000 ? [['yellow', age.padStart(9)]] : [age.padStart(9)];
  const text = ` ${`#${seq}`.padStart(8)}  ${child.padEnd(8)} ${degrees(temperature).padStart(8)}  ${measured}`;
  return [text, ...late, ...(arrived === 'new' ? [] : ['  ', ['red', arrived] as const])];
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
  const hint = wrap(keys ? hintText(scene) : `Look inside: ${folder}`, Math.max(20, width - 2));
  const help: Line = keys
    ? [
        ' ',
        ['bold', 'o'],
        ` ${scene.network.cut ? 'restore' : 'cut'} the network   `,
        ['bold', 'r'],
        ' cool the sensor   ',
        ['bold', 'q'],
        ' quit',
      ]
    : [' Ctrl-C quits'];
  return [[], ...hint.map((text): Line => [' ', ['cyan', text]]), help];
}

/** What a newcomer may do next. */
function hintText({ network, outages }: Scene): string {
  if (network.cut) {
    return 'Readings go on, and are kept on disk. Press o to bring the network back, and watch them arrive.';
  }
  const last = outages.at(-1);
  if (last === undefined) return 'Press o to cut the network, and watch what happens.';
  if (last.caughtUpAt === null) return 'The network is back: what was kept goes out, oldest first.';
  return 'Everything arrived, with the time at which it was measured. Press o to cut the network again.';
}
