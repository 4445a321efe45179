import type { Socket } from 'node:net';
import { PublishBatch } from '../src/upstream/publish-packet.ts';
import { bodies } from './body.ts';
import { mqttSocket } from './mqtt-socket.ts';
import { TOPIC, typicalPairs } from './topic.ts';
import { contend, processorTime } from './worker.ts';

/** What a socket can do: messages that are ready in memory, all that the window allows put into one write. */

interface Args {
  readonly port: number;
  readonly count: number;
  readonly window: number;
  readonly properties: boolean;
  /** Published last, instead of the usual topic. */
  readonly lastTopic?: string;
}

await contend<Args>(async ({ port, count, window, properties, lastTopic }) => {
  const body = bodies();
  const messages = Array.from({ length: count }, body);
  const extra = properties ? { contentType: 'application/json', userProperties: typicalPairs() } : {};
  return async () => {
    const used = processorTime();
    const from = performance.now();
    let socket: Socket | null = null;
    let sent = 0;
    let acknowledged = 0;
    let soon = false;
    const batch = new PublishBatch(5, 64 * 1024);
    await new Promise<void>((resolve, reject) => {
      const pump = () => {
        soon = false;
        while (sent < count && sent - acknowledged < window) {
          const topic = sent === count - 1 ? (lastTopic ?? TOPIC) : TOPIC;
          batch.add((sent % 65_535) + 1, { topic, body: messages[sent]!, ...extra });
          sent++;
        }
        if (batch.length > 0) socket!.write(batch.take());
      };
      const acknowledge = () => {
        if (++acknowledged === count) resolve();
        if (soon) return;
        soon = true;
        setImmediate(pump);
      };
      mqttSocket(port, 'raw', acknowledge).then((connected) => {
        socket = connected;
        socket.once('close', () => reject(new Error('the broker closed the connection')));
        pump();
      }, reject);
    });
    const seconds = (performance.now() - from) / 1000;
    return { perSecond: count / seconds, processorUs: used() / count };
  };
});
