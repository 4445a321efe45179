import mqtt from 'mqtt';
import { bodies } from './body.ts';
import { TOPIC, typicalProperties } from './topic.ts';
import { contend, processorTime } from './worker.ts';

/** The limit: MQTT.js with messages that are ready in memory, so many in flight, nothing kept and nothing promised. */

interface Args {
  readonly url: string;
  readonly count: number;
  readonly window: number;
  /** Whether each message carries what Holdfast's carry beside the body. */
  readonly properties: boolean;
}

await contend<Args>(async ({ url, count, window, properties }) => {
  const body = bodies();
  const messages = Array.from({ length: count }, body);
  const extra = properties ? { properties: typicalProperties() } : {};
  return () =>
    new Promise((resolve, reject) => {
      const used = processorTime();
      const from = performance.now();
      const client = mqtt.connect(url, { protocolVersion: 5, clientId: 'bare', clean: true, reconnectPeriod: 0 });
      let sent = 0;
      let acknowledged = 0;
      const publish = () => {
        client.publish(TOPIC, messages[sent++]!, { qos: 1, ...extra }, (error) => {
          if (error) {
            reject(error);
            return;
          }
          acknowledged++;
          if (sent < count) publish();
          else if (acknowledged === count) {
            const seconds = (performance.now() - from) / 1000;
            client.end(true);
            resolve({ perSecond: count / seconds, processorUs: used() / count });
          }
        });
      };
      client.on('error', reject);
      client.on('connect', () => {
        for (let i = 0; i < Math.min(window, count); i++) publish();
      });
    });
});
