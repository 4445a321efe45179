import { connect } from 'mqtt';
import { Broker, freePort } from './broker.ts';
import { Worker, type Figures } from './worker.ts';

/** A mosquitto whose bridge has nobody to talk to, until it has. */

const LAST_TOPIC = 'holdfast/v1/line-4/press-1/last';
/** Window of the client that fills the bridge's queue: that is not measured. */
const FILL_WINDOW = 1000;

export interface BridgeOptions {
  readonly count: number;
  /** `max_inflight_messages` of the bridging broker; 0: no limit. */
  readonly window: number;
  /** Starts the broker above on the given port, with a proxy in front of it or not; `onLine` must get the broker's log. */
  readonly above: (port: number, onLine: (line: string) => void) => Promise<{ broker: Broker; stop(): Promise<void> }>;
}

/** Queues in the bridge, then lets it drain: from "New client connected" in the log above until the last message is there. */
export async function drainBridge({ count, window, above }: BridgeOptions): Promise<Figures> {
  const port = await freePort();
  const edge = await Broker.start({
    settings: [
      'log_type error',
      `max_inflight_messages ${window}`,
      'max_queued_messages 0',
      'max_queued_bytes 0',
      'set_tcp_nodelay true',
      'connection up',
      `address 127.0.0.1:${port}`,
      'topic # out 1',
      'cleansession false',
      'notifications false',
      'try_private false',
      'remote_clientid bridge',
      'restart_timeout 1',
      'keepalive_interval 60',
    ],
  });
  const fill = await Worker.start('drain-raw', {
    port: edge.port,
    count,
    window: FILL_WINDOW,
    properties: false,
    lastTopic: LAST_TOPIC,
  });
  await fill.go();

  let from = 0;
  const edgeBefore = edge.processorTime();
  const upper = await above(port, (line) => {
    if (from === 0 && line.includes('New client connected') && line.includes('as bridge')) from = performance.now();
  });
  const last = connect(upper.broker.url);
  try {
    const until = await new Promise<number>((resolve, reject) => {
      last.on('error', reject);
      last.on('message', () => resolve(performance.now()));
      last.on('connect', () => last.subscribe(LAST_TOPIC));
    });
    return {
      perSecond: (count * 1000) / (until - from),
      processorUs: (edge.processorTime() - edgeBefore) / count,
      brokerUs: upper.broker.processorTime() / count,
    };
  } finally {
    await last.endAsync(true);
    await upper.stop();
    await edge.stop();
  }
}
