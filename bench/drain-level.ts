import { createRequire } from 'node:module';
import { join } from 'node:path';
import type mqttModule from 'mqtt';
import type { IClientOptions, IStore } from 'mqtt';
import { freePort } from './broker.ts';
import { bodies } from './body.ts';
import { TOPIC } from './topic.ts';
import { contend, processorTime } from './worker.ts';

/** MQTT.js with `mqtt-level-store`: publishes made while there was no broker, then sent when there is one. */

interface Args {
  readonly folder: string;
  readonly url: string;
  readonly count: number;
  /** The folder whose `node_modules` has both packages. */
  readonly peers: string;
}

interface LevelStores {
  readonly incoming: IStore;
  readonly outgoing: IStore & { put(packet: unknown, done: () => void): void };
}

await contend<Args>(async ({ folder, url, count, peers }) => {
  const require = createRequire(join(peers, 'package.json'));
  const mqtt = require('mqtt') as typeof mqttModule;
  const levelStore = require('mqtt-level-store') as (path: string) => LevelStores;
  const stores = levelStore(join(folder, 'level'));
  const options: IClientOptions = {
    protocolVersion: 5,
    clientId: 'level',
    clean: false,
    properties: { sessionExpiryInterval: 3600 },
    incomingStore: stores.incoming,
    outgoingStore: stores.outgoing,
  };

  // Offline: MQTT.js puts each publish into its store, and calls back when it is acknowledged, which is not now.
  let stored = 0;
  const put = stores.outgoing.put.bind(stores.outgoing);
  await new Promise<void>((resolve) => {
    stores.outgoing.put = (packet, done) => {
      put(packet, () => {
        done();
        if (++stored === count) resolve();
      });
      return stores.outgoing;
    };
    void freePort().then((nobody) => {
      const client = mqtt.connect(`mqtt://127.0.0.1:${nobody}`, { ...options, reconnectPeriod: 0 });
      client.on('error', () => undefined);
      const body = bodies();
      for (let i = 0; i < count; i++) client.publish(TOPIC, body(), { qos: 1 });
    });
  });
  stores.outgoing.put = put;

  return () =>
    new Promise((resolve, reject) => {
      const used = processorTime();
      const from = performance.now();
      const client = mqtt.connect(url, { ...options, reconnectPeriod: 0 });
      let acknowledged = 0;
      client.on('error', reject);
      client.on('packetreceive', (packet) => {
        if (packet.cmd !== 'puback' || ++acknowledged < count) return;
        const seconds = (performance.now() - from) / 1000;
        resolve({ perSecond: count / seconds, processorUs: used() / count });
      });
    });
});
