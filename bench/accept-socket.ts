import { PublishBatch } from '../src/upstream/publish-packet.ts';
import { bodies } from './body.ts';
import { mqttSocket } from './mqtt-socket.ts';
import { TOPIC } from './topic.ts';
import { contend, processorTime } from './worker.ts';

/** Publishers of a broker, each with one message on the way, on sockets as bare as can be. */

interface Args {
  readonly port: number;
  readonly producers: number;
  readonly ms: number;
}

await contend<Args>(async ({ port, producers, ms }) => {
  let acknowledged = 0;
  let until = 0;
  let open = producers;
  let allDone!: () => void;
  const done = new Promise<void>((resolve) => (allDone = resolve));
  const publishers = Array.from({ length: producers }, async (_, number) => {
    const body = bodies(number + 1);
    const batch = new PublishBatch(5, 1024);
    const publish = () => {
      batch.add(1, { topic: TOPIC, body: body() });
      socket.write(batch.take());
    };
    const socket = await mqttSocket(port, `press-${number}`, () => {
      acknowledged++;
      if (performance.now() < until) publish();
      else if (--open === 0) allDone();
    });
    return publish;
  });
  const connected = await Promise.all(publishers);
  return async () => {
    const used = processorTime();
    const from = performance.now();
    until = from + ms;
    for (const publish of connected) publish();
    await done;
    const seconds = (performance.now() - from) / 1000;
    return { messages: acknowledged, perSecond: acknowledged / seconds, clientUs: used() / acknowledged };
  };
});
