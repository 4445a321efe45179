import { generate, type Packet } from 'mqtt-packet';
import { GATEWAY } from './hub-rig.ts';

/** CONNECTs of somebody who has no key: whatever becomes of them, they are let in by nobody. */
export function strangers(protocolVersion: 4 | 5): Buffer[] {
  const connect = (over: object): Packet => ({
    cmd: 'connect',
    clientId: 'good',
    protocolVersion,
    username: 'good',
    password: Buffer.from('a guess'),
    clean: true,
    keepalive: 60,
    ...over,
  });
  const will = {
    topic: `holdfast/v1/${GATEWAY}/good/events`,
    payload: Buffer.from('will'),
    qos: 1 as const,
    retain: true,
  };
  return [
    connect({}),
    connect({ username: `hub.example/good/?api-version=2021-04-12`, clean: false }),
    connect({ will }),
    ...(protocolVersion === 5
      ? [connect({ properties: { sessionExpiryInterval: 60, receiveMaximum: 3, userProperties: { a: 'b' } } })]
      : []),
  ].map((packet) => generate(packet, { protocolVersion }));
}

/** What a client that is in may say, and what it may not. */
export function sayings(protocolVersion: 4 | 5, id: string): Buffer[] {
  const own = `holdfast/v1/${GATEWAY}/${id}`;
  const five = protocolVersion === 5;
  const publish = (topic: string, over: object = {}): Packet => ({
    cmd: 'publish',
    topic,
    payload: Buffer.from('{"temperature":21.5}'),
    qos: 1,
    messageId: 11,
    dup: false,
    retain: false,
    ...over,
  });
  const packets: Packet[] = [
    publish(`${own}/events`),
    publish(`${own}/events/hot/?p-level=high&t=2026-01-01T00%3A00%3A00.000Z`, { qos: 0, messageId: undefined }),
    publish(`holdfast/v1/${GATEWAY}/good/events`),
    publish(`${own}/twin/reported`),
    publish(`${own}/methods/stop/res/1`, { payload: '{"status":200,"payload":{}}' }),
    publish(`holdfast/v1/${GATEWAY}/good/methods/stop/req/1`, { payload: '{"payload":{},"responseTimeoutSecs":5}' }),
    publish(`devices/${id}/messages/events/%24.ct=a%2Fb&x=y/`),
    publish('$iothub/twin/GET/?$rid=1'),
    ...(five
      ? [
          publish(`${own}/events`, {
            properties: { contentType: 'text/plain', userProperties: { t: '1', a: ['b', 'c'] } },
          }),
        ]
      : []),
    {
      cmd: 'subscribe',
      messageId: 5,
      subscriptions: [
        { topic: `${own}/commands/#`, qos: 1 },
        { topic: '#', qos: 2 },
      ],
    },
    { cmd: 'subscribe', messageId: 6, subscriptions: [{ topic: `holdfast/v1/${GATEWAY}/+/events/#`, qos: 0 }] },
    { cmd: 'unsubscribe', messageId: 7, unsubscriptions: [`${own}/commands/#`] },
    { cmd: 'puback', messageId: 1, ...(five ? { reasonCode: 0x10 } : {}) },
    { cmd: 'pingreq' },
    { cmd: 'disconnect', ...(five ? { reasonCode: 4 } : {}) },
  ];
  return packets.map((packet) => generate(packet, { protocolVersion }));
}

/** The same bytes with one to four things done to them; `chance` gives numbers in [0, 1). */
export function mutated(bytes: Buffer, others: readonly Buffer[], chance: () => number): Buffer {
  const pick = (count: number) => Math.floor(chance() * count);
  let now = Buffer.from(bytes);
  for (let left = 1 + pick(4); left > 0; left--) {
    const at = pick(now.length + 1);
    const to = Math.min(now.length, at + pick(8));
    switch (pick(8)) {
      case 0:
        if (at < now.length) now[at]! ^= 1 << pick(8);
        break;
      case 1:
        if (at < now.length) now[at] = pick(256);
        break;
      case 2:
        now = Buffer.concat([now.subarray(0, at), now.subarray(to)]);
        break;
      case 3:
        now = Buffer.concat([now.subarray(0, at), Buffer.from([pick(256), pick(256)]), now.subarray(at)]);
        break;
      case 4:
        now = now.subarray(0, at);
        break;
      case 5:
        now = Buffer.concat([now, now.subarray(at, to)]);
        break;
      case 6:
        // The length: what a parser believes most.
        if (now.length > 1) now[1] = pick(256);
        break;
      case 7: {
        const other = others[pick(others.length)]!;
        now = Buffer.concat([now.subarray(0, at), other.subarray(pick(other.length))]);
        break;
      }
    }
  }
  return now;
}
