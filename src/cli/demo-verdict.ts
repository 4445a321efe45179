import type { Arrivals } from './demo-arrivals.ts';
import type { DemoFolder } from './demo-folder.ts';
import type { Remains, Scene } from './demo-stage.ts';
import { bytesText, plural, stopwatch } from './demo-text.ts';

/** `N arrived, in order, 0 missing, 0 repeated`. */
export function arrivalsText({ arrived, outOfOrder, missing, repeated }: Arrivals): string {
  const order = outOfOrder === 0 ? 'in order' : `${outOfOrder} OUT OF ORDER`;
  return `${arrived} arrived, ${order}, ${missing} ${missing === 0 ? 'missing' : 'MISSING'}, ${repeated} repeated`;
}

/** How it went: what `--json` prints. Counts are of this run. */
export type Verdict = ReturnType<typeof verdictOf>;

/** `scene` is the last one before everything stopped, `why` a reason to fail that shows in no count. */
export function verdictOf(scene: Scene, remains: Remains, folder: DemoFolder, why: string | null) {
  const { arrivals, oldestMs } = scene.watcher;
  const { resets } = scene;
  const { arrived, repeated, missing, outOfOrder, firstSeq, lastSeq } = arrivals;
  const failure = why ?? remains.problems[0] ?? null;
  return {
    ok: failure === null && missing === 0 && outOfOrder === 0 && resets.sound(remains.pending),
    text: arrivalsText(arrivals),
    failure,
    readings: scene.sensors.reduce((sum, { readings }) => sum + readings, 0),
    resets: {
      done: resets.done,
      withoutNetwork: resets.doneAway,
      arrived: resets.arrived,
      awaited: resets.awaited,
      outOfOrder: resets.outOfOrder,
      altered: resets.altered,
      story: resets.story,
    },
    arrived,
    missing,
    outOfOrder,
    repeated,
    firstSeq,
    lastSeq,
    stillInSpool: remains.pending,
    keptDuringOutage: scene.outages.reduce((sum, { kept }) => sum + kept, 0),
    outages: scene.outages.map((outage) => ({
      ms: outage.ms,
      kept: outage.kept,
      arrivedInMs: outage.arrivedInMs,
      oldestMs: outage.oldestMs,
      inOrder: outage.inOrder,
      resets: outage.resets,
      resetsArrived: outage.resetsArrived,
      resetsGivenOverMs: outage.resetsGivenOverMs,
      resetsArrivedOverMs: outage.resetsArrivedOverMs,
      story: outage.story,
    })),
    oldestMs,
    runningMs: Math.round(scene.runningMs),
    spoolBytes: remains.spoolBytes,
    rssBytes: process.memoryUsage.rss(),
    folder: folder.kept ? folder.path : null,
  };
}

/** The same for people. */
export function verdictLines(verdict: Verdict): string[] {
  const { readings, resets, stillInSpool, folder } = verdict;
  const left =
    stillInSpool === 0
      ? 'The spool is empty.'
      : `${plural(stillInSpool, 'message')} still in the spool${folder === null ? ', which is gone now' : ''}.`;
  return [
    `${plural(readings, 'reading')} taken and ${plural(resets.done, 'reset')} given by the rule in ${stopwatch(verdict.runningMs)}; ${verdict.text}.`,
    ...verdict.outages.map(({ story }) => sentence(story)),
    ...(resets.done === 0 && resets.arrived === 0 && resets.altered === 0 ? [] : [sentence(resets.story)]),
    `${left} ${bytesText(verdict.spoolBytes)} on disk, ${bytesText(verdict.rssBytes)} of memory.`,
    ...(folder === null ? [] : [`Kept in ${folder}: "holdfast simulate --keep ${folder}" goes on from here.`]),
    ...(verdict.failure === null ? [] : [`FAILED: ${verdict.failure}`]),
  ];
}

function sentence(story: string): string {
  return `${story[0]?.toUpperCase()}${story.slice(1)}.`;
}
