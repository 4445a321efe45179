/*
 * Windows worked out from scratch, for tests: all events are there, and each window looks at every one of them. Times are whole
 * microseconds. Nothing here is shared with what is tested.
 */

export interface NaiveEvent {
  readonly time: number;
  readonly key: string;
  readonly v: number;
}

export interface NaiveArrival extends NaiveEvent {
  readonly arrival: number;
}

export interface NaivePolicies {
  readonly outOfOrder: number;
  readonly late: number;
  readonly drop: boolean;
}

export type NaiveWindow =
  | { readonly kind: 'hopping'; readonly size: number; readonly hop: number; readonly offset: number }
  | { readonly kind: 'sliding'; readonly size: number }
  | { readonly kind: 'session'; readonly timeout: number; readonly max: number; readonly byKey: boolean }
  | { readonly kind: 'snapshot' };

/** `end|key|count|sum|min|max`. */
export type NaiveResult = string;

/** What the policies make of the events' times: late ones first, then those below the watermark. */
export function timed(arrivals: readonly NaiveArrival[], { outOfOrder, late, drop }: NaivePolicies): NaiveEvent[] {
  let latest = -Infinity;
  const kept: NaiveEvent[] = [];
  for (const { arrival, key, v, ...event } of arrivals) {
    let { time } = event;
    if (arrival - time > late) {
      if (drop) continue;
      time = arrival - late;
    }
    if (time < latest - outOfOrder) {
      if (drop) continue;
      time = latest - outOfOrder;
    }
    latest = Math.max(latest, time);
    kept.push({ time, key, v });
  }
  return kept;
}

export function naive(events: readonly NaiveEvent[], window: NaiveWindow): NaiveResult[] {
  const keys = [...new Set(events.map(({ key }) => key))];
  const sorted = [...events].sort((a, b) => a.time - b.time);
  switch (window.kind) {
    case 'hopping': {
      const { size, hop, offset } = window;
      const first = Math.floor((sorted[0]!.time - offset) / hop) - 1;
      const last = Math.ceil((sorted.at(-1)!.time + size - offset) / hop) + 1;
      const ends = Array.from({ length: last - first + 1 }, (_, index) => (first + index) * hop + offset);
      return ends.flatMap((end) => results(end, keys, (one) => one.time > end - size && one.time <= end, sorted));
    }
    case 'sliding':
      return keys.flatMap((key) => {
        const own = sorted.filter((one) => one.key === key);
        const instants = new Set(own.flatMap(({ time }) => [time, time + window.size]));
        return [...instants].flatMap((end) =>
          results(end, [key], (one) => one.time > end - window.size && one.time <= end, own),
        );
      });
    case 'snapshot':
      return [...new Set(sorted.map(({ time }) => time))].flatMap((end) =>
        results(end, keys, (one) => one.time === end, sorted),
      );
    case 'session':
      return window.byKey
        ? keys.flatMap((key) =>
            sessions(
              sorted.filter((one) => one.key === key),
              window,
            ),
          )
        : sessions(sorted, window);
  }
}

function sessions(sorted: readonly NaiveEvent[], { timeout, max }: NaiveWindow & { kind: 'session' }): NaiveResult[] {
  const out: NaiveResult[] = [];
  let from = 0;
  while (from < sorted.length) {
    const opened = sorted[from]!.time;
    const check = Math.ceil((opened + max) / max) * max;
    let to = from;
    while (
      to + 1 < sorted.length &&
      sorted[to + 1]!.time - sorted[to]!.time <= timeout &&
      sorted[to + 1]!.time <= check
    ) {
      to++;
    }
    const content = sorted.slice(from, to + 1);
    const keys = [...new Set(content.map(({ key }) => key))];
    out.push(...results(Math.min(sorted[to]!.time + timeout, check), keys, () => true, content));
    from = to + 1;
  }
  return out;
}

function results(
  end: number,
  keys: readonly string[],
  inside: (event: NaiveEvent) => boolean,
  events: readonly NaiveEvent[],
): NaiveResult[] {
  return keys.flatMap((key) => {
    const values = events.filter((one) => one.key === key && inside(one)).map(({ v }) => v);
    if (values.length === 0) return [];
    const sum = values.reduce((total, v) => total + v, 0);
    return [[end, key, values.length, sum, Math.min(...values), Math.max(...values)].join('|')];
  });
}
