import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from './manual-clock.ts';
import { Awake } from './parts/awake.ts';
import { noise } from './parts/spool-rig.ts';
import { startRogueBroker, type Manners, type RogueBroker } from './parts/rogue-broker.ts';
import { UpstreamRig, type UpstreamRigOptions } from './parts/upstream-rig.ts';
import { until } from './parts/until.ts';

/** Longest wait of an upstream rig before it connects anew, ms. */
const RECONNECT_MS_MAX = 20;

/** Runs `act` against a broker with these manners; the account must be even afterwards, and every connection closed. */
async function against(
  manners: Manners,
  options: UpstreamRigOptions,
  act: (broker: RogueBroker, rig: UpstreamRig) => Promise<void>,
): Promise<void> {
  const broker = await startRogueBroker(manners);
  const rig = await UpstreamRig.open(broker.url, options);
  try {
    await act(broker, rig);
    await rig.rig.audit();
    await rig.upstream.stop();
    // One that does not read does not see the end either.
    for (const { socket } of broker.connections) socket.resume();
    await broker.until('all connections to be closed', ({ openConnections }) => openConnections === 0);
  } finally {
    await rig.end();
    await broker.end();
  }
}

/** First sights of events arrive as 1, 2, 3 ... `count`. */
function inOrder(broker: RogueBroker, count: number, without: readonly number[] = []): void {
  const seen = [...new Set(broker.events.map(({ seq }) => seq!))].filter((seq) => !without.includes(seq));
  const expected = Array.from({ length: count }, (_, i) => i + 1).filter((seq) => !without.includes(seq));
  assert.deepEqual(seen, expected);
}

for (const code of [
  0x80, 0x81, 0x82, 0x83, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d,
  0x9f,
]) {
  test(`CONNACK 0x${code.toString(16)}: tried again until it is accepted, said once`, async () => {
    let refusals = 3;
    const onConnect: Manners['onConnect'] = (connection) => {
      if (refusals-- > 0) connection.refuse(code);
      else connection.accept();
    };
    await against({ onConnect }, { protocol: 'auto' }, async (broker, rig) => {
      await rig.fill(10);
      rig.upstream.start();
      await rig.drained();
      inOrder(broker, 10);
      const complaints = rig.complaints().filter((msg) => msg.includes('cannot connect'));
      assert.equal(complaints.length, 1, complaints.join('\n'));
      assert.match(complaints[0]!, /Connection refused: \w/);
      assert.deepEqual([...new Set(broker.connects.map(({ protocolVersion }) => protocolVersion))], [5]);
    });
  });
}

for (const code of [2, 3, 4, 5]) {
  test(`MQTT 3.1.1: CONNACK ${code}: tried again until it is accepted, said once`, async () => {
    let refusals = 3;
    const onConnect: Manners['onConnect'] = (connection) => {
      if (refusals-- > 0) connection.refuse(code);
      else connection.accept();
    };
    await against({ onConnect }, { protocol: '3.1.1' }, async (broker, rig) => {
      await rig.fill(10);
      rig.upstream.start();
      await rig.drained();
      inOrder(broker, 10);
      assert.equal(rig.complaints().length, 1, rig.complaints().join('\n'));
      assert.match(rig.complaints()[0]!, /Connection refused: \w/);
    });
  });
}

test('a load balancer whose brokers are away for a while does not cost MQTT 5', async () => {
  let closes = 0;
  const onConnect: Manners['onConnect'] = (connection) => (closes-- > 0 ? connection.close() : connection.accept());
  await against({ onConnect }, { protocol: 'auto' }, async (broker, rig) => {
    await rig.fill(10);
    rig.upstream.start();
    await rig.drained();
    closes = 5;
    broker.connections.at(-1)!.close();
    await rig.fill(10, 11);
    await rig.drained();
    inOrder(broker, 20);
    assert.equal(broker.connects.length, 7);
    assert.deepEqual([...new Set(broker.connects.map(({ protocolVersion }) => protocolVersion))], [5]);
  });
});

for (const [how, onConnect] of [
  ['CONNACK 1', (connection) => connection.socket.write(Buffer.from([0x20, 2, 0, 1]))],
  ['CONNACK 0x84', (connection) => connection.refuse(0x84)],
  ['closing', (connection) => connection.close()],
] as [string, NonNullable<Manners['onConnect']>][]) {
  test(`a broker that knows only MQTT 3.1.1 and says so by ${how} is spoken to in 3.1.1`, async () => {
    const manners: Manners = {
      onConnect: (connection, packet) => {
        if (packet.protocolVersion === 5) onConnect(connection, packet);
        else connection.accept();
      },
    };
    await against(manners, { protocol: 'auto' }, async (broker, rig) => {
      await rig.fill(50);
      rig.upstream.start();
      await rig.drained();
      inOrder(broker, 50);
      assert.equal(rig.upstream.snapshot().protocol, '3.1.1');
      assert.ok(broker.connects.filter(({ protocolVersion }) => protocolVersion === 5).length <= 2);
      // It stays with what worked.
      const before = broker.connects.length;
      broker.connections.at(-1)!.close();
      await rig.fill(10, 51);
      await rig.drained();
      assert.deepEqual(
        broker.connects.slice(before).map(({ protocolVersion }) => protocolVersion),
        [4],
      );
    });
    await against(manners, { protocol: '5' }, async (broker, rig) => {
      rig.upstream.start();
      await broker.until('some attempts', ({ connects }) => connects.length >= 5);
      assert.ok(
        broker.connects.every(({ protocolVersion }) => protocolVersion === 5),
        'protocol: 5 means 5',
      );
    });
  });
}

for (const [what, manners] of [
  ['accepts and says nothing', { onConnect: () => undefined }],
  ['never reads what it is sent', { onOpen: (connection) => void connection.socket.pause() }],
] as [string, Manners][]) {
  test(`a broker that ${what} is given up after 20 s, and tried again`, async () => {
    const clock = new ManualClock();
    await against(manners, { clock }, async (broker, rig) => {
      rig.upstream.start();
      await broker.until('a connection', ({ connections }) => connections.length === 1);
      await clock.flow(19_900);
      assert.equal(rig.upstream.snapshot().state, 'connecting');
      broker.manners = {};
      await clock.flow(200);
      assert.match(rig.complaints()[0]!, /no answer within 20 s/);
      broker.connections[0]!.socket.resume();
      await broker.until('the connection to be closed', ({ connections }) => connections[0]!.closed);
      await broker.until('another connection', ({ connections }) => connections.length === 2);
      await until('to be online', () => rig.upstream.snapshot().state === 'online');
      const stopping = rig.upstream.stop();
      await clock.flow(5000);
      await stopping;
    });
  });
}

test('stopping while a broker hangs does not wait for it', async () => {
  await against({ onConnect: () => undefined }, {}, async (broker, rig) => {
    rig.upstream.start();
    await broker.until('a CONNECT', ({ connects }) => connects.length === 1);
    const awake = new Awake();
    await rig.upstream.stop();
    const took = awake.stop();
    assert.ok(took < 2000, `stopping took ${Math.round(took)} ms`);
  });
});

test(
  'stopping while a broker leaves our SUBSCRIBE without an answer does not wait for it',
  { timeout: 20_000 },
  async () => {
    await against({ onSubscribe: () => undefined }, {}, async (broker, rig) => {
      await rig.fill(3);
      rig.upstream.start();
      await broker.until('the messages', ({ events }) => events.length === 3);
      await rig.drained();
      const awake = new Awake();
      await rig.upstream.stop();
      const took = awake.stop();
      assert.ok(took < 4000, `stopping took ${Math.round(took)} ms`);
      assert.match(broker.publishes.at(-1)!.body, /"state":"offline"/);
    });
  },
);

test('a broker that leaves our SUBSCRIBE without an answer is connected to anew, each time after a longer wait', async () => {
  const clock = new ManualClock();
  const deaf: Manners = { onSubscribe: () => undefined };
  await against(deaf, { clock }, async (broker, rig) => {
    const deafFor = async (ms: number, connections: number) => {
      const subscribed = ({ connections: all }: RogueBroker) => all.length === connections;
      await broker.until('a connection', subscribed);
      await until('to be online', () => rig.upstream.snapshot().state === 'online');
      await clock.flow(ms - 1000);
      assert.equal(broker.connections.length, connections, 'it is given its time');
    };
    await rig.fill(3);
    rig.upstream.start();
    await deafFor(60_000, 1);
    await rig.drained();
    await clock.flow(1000);
    await deafFor(120_000, 2);
    await rig.fill(3, 4);
    await rig.drained();
    broker.manners = {};
    await clock.flow(1000);
    await deafFor(3_600_000, 3);
    assert.deepEqual(
      rig.complaints().map((msg) => /has not answered for (\d+) s that we subscribe to (\S+):/.exec(msg)?.slice(1)),
      [
        ['60', 'holdfast/v1/line-4/children'],
        ['120', 'holdfast/v1/line-4/children'],
      ],
    );
    // What goes up is not held up, and sent once.
    assert.deepEqual(
      broker.events.map(({ seq }) => seq),
      [1, 2, 3, 4, 5, 6],
    );
    // That it was answered has counted.
    broker.manners = deaf;
    broker.connections.at(-1)!.close();
    await until('the end of the connection', () => rig.upstream.snapshot().state !== 'online');
    // Its wait for that may be none at all: more would be missing from the time that the next one is given.
    await clock.flow(RECONNECT_MS_MAX);
    await deafFor(60_000, 4);
    broker.manners = {};
    await clock.flow(1000);
    await deafFor(60_000, 5);
    const stopping = rig.upstream.stop();
    await clock.flow(5000);
    await stopping;
  });
});

test('a broker that closes in mid-packet', async () => {
  let times = 0;
  const manners: Manners = {
    onPublish: (connection, packet) => {
      if (times++ < 5) {
        // Half a PUBACK.
        connection.socket.write(Buffer.from([0x40, 4, 0]));
        connection.socket.end();
      } else connection.puback(packet.messageId!);
    },
  };
  await against(manners, {}, async (broker, rig) => {
    await rig.fill(100);
    rig.upstream.start();
    await rig.drained();
    inOrder(broker, 100);
  });
  let connects = 0;
  const half: Manners = {
    onConnect: (connection) => {
      if (connects++ >= 3) connection.accept();
      else connection.socket.end(Buffer.from([0x20, 9, 0]));
    },
  };
  await against(half, {}, async (broker, rig) => {
    await rig.fill(10);
    rig.upstream.start();
    await rig.drained();
    inOrder(broker, 10);
  });
});

test('a broker that sends garbage, before and after CONNACK', async () => {
  let connects = 0;
  const manners: Manners = {
    onConnect: (connection) => {
      connects++;
      if (connects === 1) connection.socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
      else if (connects === 2) connection.socket.write(Buffer.alloc(1000, 0x60));
      else if (connects === 3) connection.socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
      else connection.accept();
    },
    onPublish: (connection, packet) => {
      if (connects === 4) connection.socket.write(Buffer.alloc(200, 0xff));
      else if (connects === 5) connection.socket.write(Buffer.from([0x00, 0x00, 0xf0, 0x05, 1, 2, 3, 4, 5]));
      else connection.puback(packet.messageId!);
    },
  };
  // What is garbage may also look like the beginning of a long packet: then the keepalive ends it.
  await against(manners, { keepaliveSecs: 1 }, async (broker, rig) => {
    await rig.fill(10);
    rig.upstream.start();
    await rig.drained();
    inOrder(broker, 10);
    assert.match(
      rig.complaints().join(),
      /cannot connect to .*: 127\.0\.0\.1:\d+ does not talk MQTT: Invalid header .*; check the port in upstream\.url/,
    );
    assert.ok(connects >= 6);
  });
});

for (const [what, bytes] of [
  ['a PUBACK without a number', [0x40, 0]],
  ['a PUBACK with half a number', [0x40, 1, 0]],
  ['a PUBACK longer than any packet', [0x40, 0xff, 0xff, 0xff, 0xff, 0xff]],
] as const) {
  test(`a broker that sends ${what}: nothing counts as delivered that was not acknowledged`, async () => {
    let good = false;
    const manners: Manners = {
      onPublish: (connection, { messageId, topic }) => {
        if (good) connection.puback(messageId!);
        // The number of a message in flight follows, as part of what is no packet.
        else if (topic.includes('/events')) connection.socket.write(Buffer.from([...bytes, 0, 1, 0, 1, 0, 1]));
      },
    };
    await against(manners, { keepaliveSecs: 1 }, async (broker, rig) => {
      await rig.fill(10);
      rig.upstream.start();
      await broker.until('another connection', ({ connections }) => connections.length >= 2);
      assert.equal(rig.rig.spool.snapshot().pending, 10);
      good = true;
      await rig.drained();
      inOrder(broker, 10);
    });
  });
}

test('a broker that never acknowledges: the window holds, nothing piles up, and silence is noticed', async () => {
  const manners: Manners = { onPublish: () => undefined, onPing: () => undefined };
  await against(manners, { keepaliveSecs: 1, window: 16 }, async (broker, rig) => {
    await rig.fill(1000);
    rig.upstream.start();
    await broker.until('another connection', ({ connections }) => connections.length >= 2);
    assert.ok(
      rig.complaints().some((msg) => /Keepalive timeout/.test(msg)),
      rig.complaints().join('\n'),
    );
    // 16 messages, and the status beside them.
    assert.equal(broker.connections[0]!.openMax, 17);
    assert.equal(broker.events.filter(({ connection }) => connection === 0).length, 16);
    broker.manners = {};
    broker.connections.at(-1)!.close();
    await rig.drained();
    inOrder(broker, 1000);
  });
});

test('a broker that acknowledges nothing but answers pings holds up the window, and not the memory', async () => {
  await against({ onPublish: () => undefined }, { keepaliveSecs: 1, window: 16 }, async (broker, rig) => {
    await rig.fill(100);
    rig.upstream.start();
    await broker.until('the window to be full', ({ events }) => events.length === 16);
    const before = process.memoryUsage().heapUsed;
    await rig.fill(20_000, 101);
    assert.equal(broker.events.length, 16);
    assert.ok(process.memoryUsage().heapUsed - before < 50 * 2 ** 20);
    assert.equal(rig.upstream.snapshot().inFlight, 16);
  });
});

test('PUBACKs out of order, twice, and for what was never sent', async () => {
  let held: number[] = [];
  const manners: Manners = {
    onPublish: (connection, packet) => {
      if (!packet.topic.includes('/events')) {
        connection.puback(packet.messageId!);
        return;
      }
      held.push(packet.messageId!);
      if (held.length < 16) return;
      for (const id of [...held.reverse(), ...held, 0, 59_999, 61_234, 65_535])
        connection.send({ cmd: 'puback', messageId: id, reasonCode: 0 });
      held = [];
    },
  };
  await against(manners, {}, async (broker, rig) => {
    await rig.fill(1600);
    rig.upstream.start();
    await rig.drained();
    inOrder(broker, 1600);
    assert.equal(broker.events.length, 1600, 'something was sent twice');
    await rig.rig.audit();
    assert.equal(rig.rig.books().ledger.delivered, 1600);
  });
});

test('reason 0x10, nobody subscribed, is delivered and counted as unmatched', async () => {
  const manners: Manners = { onPublish: (connection, { messageId }) => connection.puback(messageId!, 0x10) };
  await against(manners, {}, async (_, rig) => {
    await rig.fill(20);
    rig.upstream.start();
    await rig.drained();
    await rig.rig.audit();
    const { delivered, unmatched } = rig.rig.books().ledger;
    assert.deepEqual([delivered, unmatched], [20, 20]);
  });
});

for (const reason of [0x80, 0x83, 0x87, 0x90, 0x99]) {
  test(`a message refused with 0x${reason.toString(16)} is a dead letter, and the rest goes on`, async () => {
    const manners: Manners = {
      onPublish: (connection, packet) => {
        const seq = Number(packet.properties?.userProperties?.['seq'] ?? 0);
        connection.puback(packet.messageId!, seq % 10 === 3 ? reason : 0);
      },
    };
    await against(manners, {}, async (broker, rig) => {
      await rig.fill(100);
      rig.upstream.start();
      await rig.drained();
      inOrder(broker, 100);
      assert.equal(broker.events.length, 100);
      assert.equal(broker.connections.length, 1);
      assert.equal((await rig.rig.audit()).deadLetters, 10);
    });
  });
}

test('0x97, quota exceeded: sent again from there, one at a time, and nothing is a dead letter', async () => {
  let refused = 0;
  const manners: Manners = {
    onPublish: (connection, packet) => {
      const seq = Number(packet.properties?.userProperties?.['seq'] ?? 0);
      connection.puback(packet.messageId!, seq === 30 && refused++ < 4 ? 0x97 : 0);
    },
  };
  await against(manners, {}, async (broker, rig) => {
    await rig.fill(100);
    rig.upstream.start();
    await rig.drained();
    inOrder(broker, 100);
    assert.equal(broker.connections.length, 5);
    for (const n of [1, 2, 3]) {
      assert.deepEqual(
        broker.events.filter(({ connection }) => connection === n).map(({ seq }) => seq),
        [30],
      );
    }
    assert.equal((await rig.rig.audit()).deadLetters, 0);
  });
});

for (const receiveMaximum of [1, 5]) {
  test(`Receive Maximum ${receiveMaximum} is respected, by everything that we publish`, async () => {
    let seen = 0;
    const manners: Manners = {
      onConnect: (connection) => connection.accept({ receiveMaximum }),
      // The first ones are answered late, so that whatever is sent meanwhile piles up.
      onPublish: (connection, { messageId }) =>
        void setTimeout(() => connection.puback(messageId!), seen++ < 20 ? 50 : 0),
    };
    await against(manners, { window: 128 }, async (broker, rig) => {
      await rig.fill(100);
      rig.upstream.start();
      await rig.drained();
      inOrder(broker, 100);
      await until('all to be acknowledged', () => broker.connections[0]!.open === 0);
      assert.equal(broker.connections[0]!.openMax, receiveMaximum);
    });
  });
}

test('Maximum Packet Size is respected: what is larger is a dead letter, and the rest goes on', async () => {
  const onConnect: Manners['onConnect'] = (connection) => connection.accept({ maximumPacketSize: 2000 });
  await against({ onConnect }, {}, async (broker, rig) => {
    for (let n = 1; n <= 50; n++) void rig.rig.accept(noise(n % 10 === 7 ? 2000 : 100));
    await rig.rig.spool.flush();
    rig.upstream.start();
    await rig.drained();
    const large = [7, 17, 27, 37, 47];
    inOrder(broker, 50, large);
    assert.equal(broker.connections.length, 1);
    assert.ok(broker.events.every(({ body }) => body.length < 2000));
    assert.equal((await rig.rig.audit()).deadLetters, 5);
    const said = rig.log.filter(({ msg }) => msg.includes('dead letters now'));
    assert.deepEqual(
      said.map(({ level, bytesMax, count }) => [level, bytesMax, count]),
      [[40, 2000, 1]],
    );
    assert.ok(Number(said[0]!['bytes']) > 2000);
    assert.match(said[0]!.msg, /^messages are larger than the broker takes/);
  });
});

for (const [what, acknowledges] of [
  ['acknowledges what was before it', true],
  ['acknowledges nothing before it has read all', false],
] as const) {
  test(`a message on which the broker closes each time becomes a dead letter; it ${what}`, async () => {
    const manners: Manners = {
      onPublish: (connection, packet) => {
        if (connection.closed || connection.socket.destroyed) return;
        const seq = Number(packet.properties?.userProperties?.['seq'] ?? 0);
        if (seq === 20) connection.close();
        else if (acknowledges) connection.puback(packet.messageId!);
        else setTimeout(() => connection.puback(packet.messageId!), 5);
      },
    };
    await against(manners, {}, async (broker, rig) => {
      await rig.fill(100);
      rig.upstream.start();
      await rig.drained();
      inOrder(broker, 100);
      assert.ok(broker.connections.length <= 12, `${broker.connections.length} connections`);
      assert.equal((await rig.rig.audit()).deadLetters, 1);
      assert.ok(rig.complaints().some((msg) => /closed on this message alone/.test(msg)));
    });
  });
}

test('a poisonous message of a low lane is found although urgent ones keep getting through', async () => {
  let urgent = () => Promise.resolve();
  const manners: Manners = {
    // Each connection finds an urgent message to deliver first.
    onConnect: (connection) => void urgent().then(() => connection.accept()),
    onPublish: (connection, packet) => {
      if (connection.socket.destroyed) return;
      const { lane, seq } = packet.properties?.userProperties ?? {};
      if (lane === '10' && seq === '3') setTimeout(() => connection.close(), 5);
      else connection.puback(packet.messageId!);
    },
  };
  await against(manners, {}, async (broker, rig) => {
    urgent = () => rig.rig.accept('urgent', 0);
    await rig.fill(10);
    rig.upstream.start();
    const dead = () => rig.complaints().some((msg) => /dead letter/.test(msg));
    await until('the poison to be a dead letter', dead);
    await rig.drained();
    assert.ok(broker.connections.length <= 12, `${broker.connections.length} connections`);
    assert.equal((await rig.rig.audit()).deadLetters, 1);
  });
});

test('a broker that stops reading: the keepalive ends it, and memory stays bounded', async () => {
  let silent = true;
  const manners: Manners = {
    onPublish: (connection, packet) => {
      if (silent) connection.socket.pause();
      else connection.puback(packet.messageId!);
    },
  };
  await against(manners, { keepaliveSecs: 1, window: 10_000 }, async (broker, rig) => {
    for (let n = 1; n <= 100; n++) void rig.rig.accept(noise(100_000));
    await rig.rig.spool.flush();
    const before = process.memoryUsage();
    rig.upstream.start();
    await broker.until('a connection', ({ connections }) => connections.length === 1);
    await until('the connection to be given up', () => rig.complaints().some((msg) => /Keepalive timeout/.test(msg)));
    const after = process.memoryUsage();
    assert.ok(
      after.arrayBuffers - before.arrayBuffers < 30 * 2 ** 20,
      `${after.arrayBuffers - before.arrayBuffers} bytes more`,
    );
    silent = false;
    await rig.drained();
    inOrder(broker, 100);
  });
});

test('a broker that refuses our subscription is told of once, and messages flow', async () => {
  const manners: Manners = {
    onSubscribe: (connection, { messageId, subscriptions }) =>
      connection.send({ cmd: 'suback', messageId: messageId!, granted: subscriptions.map(() => 0x87) }),
  };
  await against(manners, {}, async (broker, rig) => {
    await rig.fill(10);
    rig.upstream.start();
    await rig.drained();
    inOrder(broker, 10);
    const said = () => rig.complaints().filter((msg) => /does not let us receive/.test(msg));
    await until('a word about it', () => said().length > 0);
    broker.connections.at(-1)!.close();
    await until('another connection', () => broker.connects.length > 1 && rig.upstream.snapshot().state === 'online');
    assert.equal(said().length, 1);
  });
});

test('an hour of dead network leaves nothing behind', async () => {
  const broker = await startRogueBroker({ onConnect: (connection) => connection.close() });
  const rig = await UpstreamRig.open(broker.url);
  await rig.fill(10);
  rig.upstream.start();
  const attempts = () => rig.upstream.snapshot().attempts;
  const handles = () => process.getActiveResourcesInfo().length;
  await until('some attempts', () => attempts() > 50);
  globalThis.gc?.();
  const before = { handles: handles(), heap: process.memoryUsage().heapUsed, lines: rig.log.length };
  // An hour at the longest wait, one a minute, would be 60.
  const goal = attempts() + 300;
  await until('many attempts', () => attempts() > goal);
  globalThis.gc?.();
  assert.ok(handles() <= before.handles + 3, `${handles()} handles, ${before.handles} before`);
  assert.ok(process.memoryUsage().heapUsed - before.heap < 20 * 2 ** 20);
  assert.ok(
    rig.log.length - before.lines < 5,
    rig.log
      .slice(before.lines)
      .map(({ msg }) => msg)
      .join('\n'),
  );
  assert.ok(broker.openConnections <= 1);
  broker.manners = {};
  await rig.drained();
  inOrder(broker, 10);
  await rig.end();
  await broker.end();
});
