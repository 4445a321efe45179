import { drainBridge } from './bridge.ts';
import { Broker, freePort } from './broker.ts';
import { Folder } from './folder.ts';
import { table, type Goal, type Report } from './page.ts';
import { peerFolder } from './peer.ts';
import { interleave, show, spread, type Contender, type Results } from './rounds.ts';
import { Worker, type Figures } from './worker.ts';

/** Draining what was stored to a mosquitto, near and far. */

export interface DrainSizes {
  readonly rounds: number;
  /** Messages with the broker near; with its own small window; and with 50 ms between. 0: that part is left out. */
  readonly near: number;
  readonly small: number;
  readonly far: number;
  /** Messages that mqtt-level-store is given; 0: it is left out. */
  readonly level: number;
}

export const DRAIN: DrainSizes = { rounds: 3, near: 100_000, small: 100_000, far: 20_000, level: 200 };
export const DRAIN_QUICK: DrainSizes = { rounds: 1, near: 100_000, small: 20_000, far: 4_000, level: 50 };

/** Holdfast's default (src/config/upstream.ts). */
const WINDOW = 128;
/** What mosquitto announces when nothing is configured. */
const MOSQUITTO_WINDOW = 20;
const ROUND_TRIP_MS = 50;
/** What the broker above is told to announce, where it is told. */
const ANNOUNCED = 1000;

const HOLDFAST = 'Holdfast';
const BRIDGE = 'mosquitto bridge';
const WIDE = 'Holdfast, 1,000 in flight';
const BARE = 'bare MQTT.js (the limit)';
const BARE_PROPERTIES = 'bare MQTT.js, with the properties that Holdfast sends';
const RAW = 'hand-coalesced on a socket';
const RAW_PROPERTIES = 'hand-coalesced, with the properties';
const LEVEL = 'MQTT.js with mqtt-level-store';

export async function drain(sizes: DrainSizes): Promise<Report> {
  const peers = sizes.level > 0 ? peerFolder('level') : null;
  const { rounds } = sizes;
  const near = await interleave(
    sizes.near === 0
      ? []
      : [
          holdfast(sizes.near, WINDOW, 0),
          bridge(sizes.near, WINDOW, 0),
          bare(sizes.near, WINDOW, 0),
          raw(sizes.near, WINDOW, 0),
          bare(sizes.near, WINDOW, 0, true),
          raw(sizes.near, WINDOW, 0, true),
        ],
    rounds,
  );
  const small = await interleave(
    sizes.small === 0
      ? []
      : [
          holdfast(sizes.small, MOSQUITTO_WINDOW, 0),
          bridge(sizes.small, MOSQUITTO_WINDOW, 0),
          bare(sizes.small, MOSQUITTO_WINDOW, 0),
          raw(sizes.small, MOSQUITTO_WINDOW, 0),
        ],
    rounds,
  );
  const far = await interleave(
    sizes.far === 0
      ? []
      : [
          holdfast(sizes.far, WINDOW, ROUND_TRIP_MS),
          { ...holdfast(sizes.far, ANNOUNCED, ROUND_TRIP_MS), name: WIDE },
          bridge(sizes.far, WINDOW, ROUND_TRIP_MS),
          bare(sizes.far, WINDOW, ROUND_TRIP_MS),
          raw(sizes.far, WINDOW, ROUND_TRIP_MS),
          ...(peers === null ? [] : [level(sizes.level, peers)]),
        ],
    rounds,
  );
  return report(sizes, near, small, far);
}

/** A fresh broker without subscribers, on `port`, behind `roundTripMs` of delay. */
async function above(
  window: number,
  roundTripMs: number,
  port = 0,
  onLine: (line: string) => void = () => undefined,
): Promise<{ broker: Broker; port: number; stop(): Promise<void> }> {
  const outside = port === 0 ? await freePort() : port;
  const inside = roundTripMs === 0 ? outside : await freePort();
  const announced = window === MOSQUITTO_WINDOW ? [] : [`max_inflight_messages ${ANNOUNCED}`];
  const broker = await Broker.start({
    settings: ['log_type error', 'log_type notice', 'set_tcp_nodelay true', ...announced],
    port: inside,
    onLine,
  });
  const proxy =
    roundTripMs === 0
      ? null
      : await Worker.start('delay-proxy', { port: outside, target: inside, delayMs: roundTripMs / 2 });
  return {
    broker,
    port: outside,
    stop: async () => {
      await proxy?.kill();
      await broker.stop();
    },
  };
}

function holdfast(count: number, window: number, roundTripMs: number): Contender {
  const args = { count, window, protocol: '5' };
  return { name: HOLDFAST, measure: () => drainClient('drain-spool', args, window, roundTripMs) };
}

function bridge(count: number, window: number, roundTripMs: number): Contender {
  const upper = (port: number, onLine: (line: string) => void) => above(window, roundTripMs, port, onLine);
  return { name: BRIDGE, measure: () => drainBridge({ count, window, above: upper }) };
}

function bare(count: number, window: number, roundTripMs: number, properties = false): Contender {
  const name = properties ? BARE_PROPERTIES : BARE;
  return { name, measure: () => drainClient('drain-bare', { count, window, properties }, window, roundTripMs) };
}

function raw(count: number, window: number, roundTripMs: number, properties = false): Contender {
  const name = properties ? RAW_PROPERTIES : RAW;
  return { name, measure: () => drainClient('drain-raw', { count, window, properties }, window, roundTripMs) };
}

function level(count: number, peers: string): Contender {
  return { name: LEVEL, measure: () => drainClient('drain-level', { count, peers }, WINDOW, ROUND_TRIP_MS) };
}

async function drainClient(
  file: string,
  args: Readonly<Record<string, unknown>> & { readonly count: number },
  window: number,
  roundTripMs: number,
): Promise<Figures> {
  const upper = await above(window, roundTripMs);
  const url = `mqtt://127.0.0.1:${upper.port}`;
  const folder = new Folder('drain');
  let worker: Worker | null = null;
  try {
    worker = await Worker.start(file, { ...args, folder: folder.path, url, port: upper.port });
    const before = upper.broker.processorTime();
    const figures = await worker.go();
    return { ...figures, brokerUs: (upper.broker.processorTime() - before) / args.count };
  } finally {
    await worker?.kill();
    await upper.stop();
    folder.remove();
  }
}

function rows(results: Results, names: readonly string[]): string[][] {
  return names
    .filter((name) => results.has(name))
    .map((name) => [
      name,
      spread(results.values(name, 'perSecond')),
      show(results.median(name, 'processorUs')),
      show(results.median(name, 'brokerUs')),
      show(results.ratio(HOLDFAST, name, 'perSecond')),
    ]);
}

function report(sizes: DrainSizes, near: Results, small: Results, far: Results): Report {
  const head = (what: string) => [what, 'messages/s', 'sender, us/message', 'broker, us/message', 'Holdfast to this'];
  const all = [HOLDFAST, WIDE, BRIDGE, BARE, BARE_PROPERTIES, RAW, RAW_PROPERTIES, LEVEL];
  const atLeast = (goal: string, results: Results, other: string, ratio: number): Goal[] => {
    if (!results.has(HOLDFAST) || !results.has(other)) return [];
    const measured = results.ratio(HOLDFAST, other, 'perSecond');
    return [{ goal, measured: show(measured), met: measured >= ratio }];
  };
  const part = (results: Results, what: string) =>
    results.has(HOLDFAST) ? [table(head(what), rows(results, all))] : [];
  const bridged = (far.median(BRIDGE, 'perSecond') * ROUND_TRIP_MS) / 1000;
  return {
    title: 'Draining what was stored',
    method: [
      `${show(sizes.near)} messages of 256 B, QoS 1, are stored first; timed from connecting until all are acknowledged ` +
        `(Holdfast: until that is durable in its ledger; the bridge: until the last message is at the broker above). ` +
        `${sizes.rounds} rounds in turn, median (least to most). The broker above is mosquitto 2.0.11, a fresh one for each ` +
        `turn, without subscribers. Each sender is a process of its own; "us/message" is processor time. "The limit" has ` +
        `its messages ready in memory, sends body and topic only (Holdfast adds about 170 B of properties), and keeps nothing. ` +
        `The bridge is another mosquitto 2.0.11 without persistence (cleansession false, notifications false), which spares ` +
        `it the medium.`,
    ],
    tables: [
      ...part(near, `near, ${WINDOW} in flight`),
      ...part(small, `near, ${MOSQUITTO_WINDOW} in flight: what mosquitto announces by itself`),
      ...(far.has(HOLDFAST)
        ? [
            `With ${ROUND_TRIP_MS} ms of round trip, made by a proxy, and ${show(sizes.far)} messages (mqtt-level-store: ` +
              `${sizes.level}). ${WINDOW} in flight can be at most ${show((WINDOW * 1000) / ROUND_TRIP_MS)} messages/s; ` +
              `the bridge was told \`max_inflight_messages ${WINDOW}\`, and its rate says that ${show(bridged)} were in ` +
              `flight: mosquitto 2.0.11's bridge does not keep to its window.`,
          ]
        : []),
      ...part(far, `${ROUND_TRIP_MS} ms away, ${WINDOW} in flight`),
    ],
    goals: [
      ...atLeast('near: at least 0.9 of the limit', near, BARE, 0.9),
      ...atLeast('near: never slower than the bridge', near, BRIDGE, 1),
      ...atLeast(`near, ${MOSQUITTO_WINDOW} in flight: at least 0.9 of the limit`, small, BARE, 0.9),
      ...atLeast(`near, ${MOSQUITTO_WINDOW} in flight: never slower than the bridge`, small, BRIDGE, 1),
      ...atLeast('50 ms: at least 0.9 of the limit', far, BARE, 0.9),
      ...atLeast('50 ms: never slower than the bridge', far, BRIDGE, 1),
      ...atLeast('50 ms: at least 20 times mqtt-level-store', far, LEVEL, 20),
    ],
  };
}
