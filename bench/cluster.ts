import { holdfastUpstream } from '../src/dialects/holdfast-upstream.ts';
import type { Downlink } from '../src/upstream/downlink.ts';
import { Upstream } from '../src/upstream/upstream.ts';
import { mosquitto, nats, rabbitmq, type BrokerCluster } from './broker-cluster.ts';
import { Consumer } from './consumer.ts';
import { Folder } from './folder.ts';
import { Forwarder } from './forwarder.ts';
import { table, type Goal, type Report } from './page.ts';
import { show } from './rounds.ts';
import { openInProcess, quiet, store } from './stored.ts';

/** Whether a message is lost when a broker's node dies while a spool drains to it. */

export interface ClusterSizes {
  readonly count: number;
  readonly brokers: readonly ClusterBroker[];
}

export type ClusterBroker = keyof typeof BROKERS;

const BROKERS = {
  /** Asked to stop: it saves what it holds. */
  mosquitto: { make: mosquitto, version: 5, signal: 'SIGTERM' },
  /** Killed: what it had acknowledged since it last saved is its own loss. */
  'mosquitto-killed': { make: mosquitto, version: 5, signal: 'SIGKILL' },
  nats: { make: nats, version: 4, signal: 'SIGKILL' },
  rabbitmq: { make: rabbitmq, version: 4, signal: 'SIGKILL' },
} as const;

export const CLUSTER: ClusterSizes = {
  count: 100_000,
  brokers: ['mosquitto', 'mosquitto-killed', 'nats', 'rabbitmq'],
};
export const CLUSTER_QUICK: ClusterSizes = { count: 6000, brokers: ['mosquitto', 'nats', 'rabbitmq'] };

/** Holdfast's default (src/config/upstream.ts). */
const WINDOW = 128;
/** The node goes when so much of the backlog has been delivered. */
const KILL_AT = 1 / 3;
/** A broker that has no second node is started again after this, ms. */
const AWAY_MS = 3000;
const LOOK_EVERY_MS = 20;
const DRAIN_MS_MAX = 900_000;
/** A consumer that has heard nothing for so long has heard all, ms. */
const QUIET_MS = 20_000;

interface Outcome {
  readonly broker: string;
  readonly how: string;
  readonly protocol: string;
  readonly perSecond: number;
  /** From the kill to the next acknowledgement that became durable. */
  readonly stoodMs: number;
  readonly attempts: number;
  readonly deadLetters: number;
  readonly unique: number;
  readonly missing: number;
  readonly again: number;
  readonly late: number;
}

export async function cluster({ count, brokers }: ClusterSizes): Promise<Report> {
  const outcomes: Outcome[] = [];
  for (const broker of brokers) {
    const outcome = await drainWhileANodeDies(broker, count);
    process.stderr.write(`  ${JSON.stringify(outcome)}\n`);
    outcomes.push(outcome);
  }
  return report(count, outcomes);
}

/** Nothing comes from above. */
const DEAF: Downlink = {
  connected: () => undefined,
  asked: () => undefined,
  heard: (_, stored) => stored(),
  oversized: () => undefined,
  lost: () => undefined,
};

async function drainWhileANodeDies(broker: ClusterBroker, count: number): Promise<Outcome> {
  const { make, version, signal } = BROKERS[broker];
  const folder = new Folder('cluster');
  const spoolFolder = new Folder('cluster-spool');
  const open = await openInProcess(spoolFolder.path);
  await store(open, count);
  await quiet(open);
  const brokers = await make(folder.path);
  const forwarder = await Forwarder.start(brokers.nodes.map(({ port }) => port));
  // Not on the node that goes, where there is another.
  const consumer = await Consumer.start(brokers.nodes.at(-1)!.port, version);
  const { spool, clock, log } = open;
  const upstream = new Upstream({
    dialect: holdfastUpstream('line-4'),
    url: `mqtt://127.0.0.1:${forwarder.port}`,
    protocol: 'auto',
    clientId: 'line-4',
    keepaliveSecs: 30,
    window: WINDOW,
    reconnect: { minSecs: 1, maxSecs: 60 },
    credentials: () => ({ tls: {} }),
    outbox: spool,
    status: () => ({}),
    downlink: DEAF,
    clock,
    log,
    random: Math.random,
  });
  const settled = () => {
    const { delivered, deadLetters } = spool.durableBooks().ledger;
    return delivered + deadLetters;
  };
  try {
    const from = performance.now();
    upstream.start();
    await until(() => settled() >= count * KILL_AT, DRAIN_MS_MAX);
    const struckAt = performance.now();
    await strike(brokers, forwarder, signal);
    // What was acknowledged before may become durable only now.
    const atStrike = settled();
    await until(() => settled() > atStrike + 2 * WINDOW, DRAIN_MS_MAX);
    const stoodMs = performance.now() - struckAt;
    await until(() => settled() >= count, DRAIN_MS_MAX);
    const perSecond = count / ((performance.now() - from) / 1000);
    await consumer.until(count, QUIET_MS);
    const { protocol, attempts } = upstream.snapshot();
    const { deadLetters } = spool.durableBooks().ledger;
    const { unique, again, missing, late } = consumer.heard;
    const how = `${signal === 'SIGKILL' ? 'killed' : 'stopped'}${brokers.nodes.length === 1 ? ' and started' : ''}`;
    return {
      broker: brokers.name,
      how,
      protocol,
      perSecond,
      stoodMs,
      attempts,
      deadLetters,
      unique,
      again,
      // What came before the first or after the last is missing as well.
      missing: Math.max(missing, count - deadLetters - unique),
      late,
    };
  } finally {
    await upstream.stop();
    consumer.stop();
    await forwarder.stop();
    await brokers.stop();
    await open.close();
    folder.remove();
    spoolFolder.remove();
  }
}

/** The node that we are connected to goes; the only one comes back. */
async function strike(brokers: BrokerCluster, forwarder: Forwarder, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const node = brokers.nodes.find(({ port }) => port === forwarder.target);
  if (node === undefined) throw new Error('there is no connection to strike');
  await node.kill(signal);
  if (brokers.nodes.length > 1) return;
  await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
  node.start();
  await node.listening();
}

async function until(holds: () => boolean, msMax: number): Promise<void> {
  const deadline = performance.now() + msMax;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('it comes to no end');
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

function report(count: number, outcomes: readonly Outcome[]): Report {
  const goals = outcomes.map(({ broker, how, missing, deadLetters, again, late }): Goal => {
    const lost = missing + deadLetters;
    return {
      goal: `${broker}, ${how}: nothing lost, order held, at most a window twice`,
      measured: `${show(lost)} lost, ${show(late)} late, ${show(again)} twice`,
      met: lost === 0 && late === 0 && again <= WINDOW,
    };
  });
  return {
    title: 'A broker dies while the backlog drains',
    method: [
      `${count.toLocaleString('en-US')} messages of 256 B drain from a spool (\`protocol: auto\`, window ${WINDOW}) to a broker ` +
        `from Debian's packages through a TCP forwarder, which stands for a load balancer: a connection goes to the first ` +
        `node that takes it. When a third is delivered, the node that we are connected to is killed (SIGKILL) and stays away; ` +
        `the one mosquitto, which has no second, is stopped (it saves what it holds) or killed, and started again after ` +
        `${AWAY_MS / 1000} s. A consumer with a kept session (QoS 1) on another node counts by epoch, lane and seq. Once. ` +
        `"Stood still" is from the kill until more than two windows have been delivered anew; "late" is what came for the ` +
        `first time after a later one.`,
    ],
    tables: [
      table(
        ['broker', 'node', 'MQTT', 'messages/s', 'stood still, s', 'came', 'missing', 'twice', 'late', 'dead letters'],
        outcomes.map((each) => [
          each.broker,
          each.how,
          each.protocol,
          show(each.perSecond),
          show(each.stoodMs / 1000),
          each.unique.toLocaleString('en-US'),
          show(each.missing),
          show(each.again),
          show(each.late),
          show(each.deadLetters),
        ]),
      ),
    ],
    goals,
  };
}
