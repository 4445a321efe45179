import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { falseHolders, makeTrust, presenting } from './parts/bad-certificates.ts';
import {
  newVictim,
  PASSWORDS,
  rightPassword,
  rightToken,
  TOKENS,
  type Forgery,
  type Victim,
} from './parts/bad-credentials.ts';
import { DEEDS, FORGED, type Deed } from './parts/bad-deeds.ts';
import { CertificateMaker } from './parts/child-certificates.ts';
import { GoodChild } from './parts/good-child.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { PacketClient } from './parts/packet-client.ts';
import { scratch } from './parts/scratch.ts';
import { byPassword, bySas, GATEWAY, HubGateway, portsRefused, type Registered } from './parts/sdk-gateway.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

const skip = await portsRefused();
/** Bad clients at work at the same time. */
const AT_ONCE = 12;
/** Within this, one who says nothing, or too slowly, is gone, ms. */
const PATIENCE_MS_MAX = 30_000;
/** How long one who was let in is listened to: whatever it could hear is said several times in that time, ms. */
const EAR_MS = 400;
/** How long the good child is watched before the attack, ms. */
const QUIET_MS = 3000;
/**
 * What bad clients may cost a good one: its PUBACK comes within so many ms (99 %), or so many times what it takes on this
 * machine when there are none.
 */
const GOOD_MS_MAX = 500;
const GOOD_TIMES_MAX = 8;

interface Row {
  readonly name: string;
  /** Throws when it got in, or got its way. */
  readonly act: () => Promise<void>;
}

let addresses = 0;
/** Every bad client comes from an address of its own, so that none is refused for the sake of one before it. */
function nextAddress(): string {
  addresses++;
  return `127.1.${addresses >> 8}.${addresses & 255}`;
}

/** All of it: who is registered, and who does what. */
class Attack {
  readonly registered: Registered[] = [];
  readonly secrets: string[] = [];
  /** Owners of what others tried to use; they must still get in afterwards. */
  readonly owners: (() => Forgery)[] = [];
  readonly rows: Row[] = [];
  readonly gateway: HubGateway;

  constructor(gateway: HubGateway) {
    this.gateway = gateway;
  }

  sas(id: string): Victim {
    const victim = newVictim(id);
    this.registered.push({ id, auth: bySas(victim.key) });
    this.secrets.push(victim.key);
    return victim;
  }

  plain(id: string): Victim {
    const victim = newVictim(id);
    this.registered.push({ id, auth: byPassword(victim.password) });
    this.secrets.push(victim.password);
    return victim;
  }

  client(tls: Forgery['tls'], version: 4 | 5 = 4): PacketClient {
    const { address: host, ca } = this.gateway;
    return new PacketClient({ host, port: 8883, localAddress: nextAddress(), tls: { ca, ...tls }, version });
  }

  /** One who presents what should not let it in. What it says before it was answered must not be heard either. */
  outside(name: string, forgery: () => Forgery): void {
    this.rows.push({
      name,
      act: async () => {
        const { tls, ...credentials } = forgery();
        const client = this.client(tls);
        await client.whenOpen();
        client.connect(credentials);
        for (const topic of [
          `devices/${credentials.clientId}/messages/events/`,
          `holdfast/v1/${GATEWAY}/${credentials.clientId}/events`,
        ]) {
          if (topic.length < 1000 && !topic.includes('\0') && !/[+#]/.test(topic))
            client.send({ cmd: 'publish', topic, payload: FORGED, qos: 1, messageId: 1, retain: false, dup: false });
        }
        const code = await client.admission(PATIENCE_MS_MAX);
        assert.notEqual(code, 0, 'it was let in');
        await client.whenClosed(PATIENCE_MS_MAX);
        assert.ok(
          client.packets.every(({ cmd }) => cmd === 'connack'),
          'it was told more than that it may not come in',
        );
      },
    });
  }

  /** One whose credentials are good, to show that it is not the test that keeps the others out. */
  async enters(forgery: Forgery): Promise<void> {
    const { tls, ...credentials } = forgery;
    const client = this.client(tls);
    client.connect(credentials);
    const code = await client.admission(PATIENCE_MS_MAX);
    client.end();
    assert.equal(code, 0, `${credentials.clientId} is kept out`);
  }

  inside(deed: Deed, victim: Victim, target: string): void {
    this.rows.push({
      name: deed.name,
      act: async () => {
        const client = this.client(undefined, deed.five === true ? 5 : 4);
        client.connect(rightToken(victim));
        assert.equal(await client.admission(PATIENCE_MS_MAX), 0, 'its own credentials are good');
        deed.act(client, { id: target, gateway: GATEWAY, self: victim.id });
        if (deed.verdict === 'cut') await client.whenClosed(PATIENCE_MS_MAX);
        else if (deed.verdict === 'denied') {
          await client.until(
            'an answer to its subscription',
            ({ packets, closed }) => closed || packets.some(({ cmd }) => cmd === 'suback'),
            PATIENCE_MS_MAX,
          );
          await sleep(EAR_MS);
          for (const packet of client.packets) {
            if (packet.cmd !== 'suback') continue;
            const granted = (packet.granted as number[]).filter((code) => code < 0x80);
            assert.deepEqual(granted, [], 'a subscription was granted');
          }
        } else await sleep(EAR_MS);
        assert.deepEqual(
          client.packets.filter(({ cmd }) => cmd === 'publish'),
          [],
          'it heard something',
        );
        client.end();
      },
    });
  }

  /** Bytes from the first moment on; whoever they come from is gone before long. */
  rude(name: string, port: 8883 | 443 | 1883, secure: boolean, write: (socket: Socket) => NodeJS.Timeout | void): void {
    this.rows.push({
      name,
      act: async () => {
        const { address: host, ca } = this.gateway;
        const from = { host, port, localAddress: nextAddress() };
        const socket = secure ? connectTls({ ...from, ca, checkServerIdentity: () => undefined }) : connectTcp(from);
        socket.on('error', () => undefined).resume();
        let timer: NodeJS.Timeout | void = undefined;
        socket.once(secure ? 'secureConnect' : 'connect', () => (timer = write(socket)));
        await until('the end of the connection', () => socket.closed, PATIENCE_MS_MAX);
        if (timer !== undefined) clearInterval(timer);
      },
    });
  }
}

function bytewise(text: string | Buffer, everyMs: number) {
  return (socket: Socket): NodeJS.Timeout => {
    const bytes = Buffer.from(text);
    let at = 0;
    return setInterval(() => {
      if (!socket.destroyed) socket.write(bytes.subarray(at % bytes.length, (at++ % bytes.length) + 1));
    }, everyMs);
  };
}

function slow(attack: Attack): void {
  const connect = Buffer.from([0x10, 0xff, 0x7f, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60]);
  const upgrade =
    'GET /$iothub/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
    'Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';
  for (const port of [8883, 443] as const) {
    attack.rude(`says nothing at all on ${port}`, port, false, () => undefined);
    attack.rude(
      `begins a handshake on ${port}`,
      port,
      false,
      (socket) => void socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1])),
    );
    attack.rude(
      `makes a handshake byte by byte on ${port}`,
      port,
      false,
      bytewise(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), 300),
    );
    attack.rude(`says nothing after the handshake on ${port}`, port, true, () => undefined);
    attack.rude(`speaks MQTT without TLS on ${port}`, port, false, (socket) => void socket.write(connect));
    attack.rude(`speaks SSH on ${port}`, port, false, (socket) => void socket.write('SSH-2.0-OpenSSH_9.2\r\n'));
    attack.rude(`sends noise on ${port}`, port, true, (socket) => void socket.write(Buffer.alloc(4096, 0xa5)));
  }
  attack.rude('says nothing at all without TLS', 1883, false, () => undefined);
  attack.rude('begins a CONNECT', 8883, true, (socket) => void socket.write(connect));
  attack.rude('makes a CONNECT byte by byte', 8883, true, bytewise(connect, 300));
  attack.rude('makes a CONNECT byte by byte, without TLS', 1883, false, bytewise(connect, 300));
  attack.rude(
    'announces a CONNECT of 256 MiB',
    8883,
    true,
    (socket) => void socket.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])),
  );
  attack.rude(
    'publishes before it connects',
    8883,
    true,
    (socket) => void socket.write(Buffer.from([0x30, 4, 0, 1, 0x61, 0x62])),
  );
  attack.rude(
    'subscribes before it connects',
    8883,
    true,
    (socket) => void socket.write(Buffer.from([0x82, 6, 0, 1, 0, 1, 0x23, 0])),
  );
  attack.rude('pings before it connects', 8883, true, (socket) => void socket.write(Buffer.from([0xc0, 0])));
  attack.rude(
    'speaks of a protocol MQTX',
    8883,
    true,
    (socket) => void socket.write(Buffer.from([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x58, 4, 2, 0, 60, 0, 1, 0x61])),
  );
  attack.rude(
    'speaks MQTT 9',
    8883,
    true,
    (socket) => void socket.write(Buffer.from([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 9, 2, 0, 60, 0, 1, 0x61])),
  );
  attack.rude('makes a request header by header', 443, true, bytewise('X-More: 1\r\n', 300));
  attack.rude(
    'makes a request whose headers do not end',
    443,
    true,
    (socket) => void socket.write(`GET / HTTP/1.1\r\n${'X-More: 1\r\n'.repeat(20_000)}`),
  );
  attack.rude('upgrades, and says nothing', 443, true, (socket) => void socket.write(upgrade));
  attack.rude(
    'upgrades elsewhere',
    443,
    true,
    (socket) => void socket.write(upgrade.replace('/$iothub/websocket', '/elsewhere')),
  );
  attack.rude(
    'upgrades, and sends frames that are none',
    443,
    true,
    (socket) => void socket.write(`${upgrade}${'x'.repeat(1000)}`),
  );
  attack.rude(
    'upgrades, and announces a frame of 2^62 bytes',
    443,
    true,
    (socket) =>
      void socket.write(
        Buffer.concat([Buffer.from(upgrade), Buffer.from([0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])]),
      ),
  );
}

function resident(gateway: HubGateway): number {
  const status = readFileSync(`/proc/${gateway.process.process.pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1024;
}

async function rowsIn(attack: Attack): Promise<string[]> {
  const failures: string[] = [];
  const rows = [...attack.rows];
  const work = async () => {
    for (let row = rows.shift(); row !== undefined; row = rows.shift()) {
      try {
        await row.act();
      } catch (error) {
        failures.push(`${row.name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failures;
}

test(
  'bad clients do not get in, do not get their way, and nobody else notices',
  { skip },
  async (context: TestContext) => {
    const dir = scratch();
    const maker = new CertificateMaker(dir);
    const trust = makeTrust(maker);
    const revoked = join(dir, 'revoked.txt');
    writeFileSync(revoked, `${new X509Certificate(readFileSync(trust.revoked.cert)).serialNumber}\n`);
    const mosquitto = await startMosquitto();
    const watcher = await startWatcher({ url: mosquitto.url, qos: 0 });
    const gateway = new HubGateway({
      dir,
      upstream: mosquitto.url,
      timeKnown: true,
      hub: [`clientCa: ${trust.root.cert}`, `revoked: ${revoked}`, 'tokenExpiry: strict', 'maxConnectedClients: 1000'],
      yaml: 'children:\n  - { id: panel, connected: {}, grants: [ { send: target } ] }\n',
    });
    const attack = new Attack(gateway);
    const { address: host, ca } = gateway;

    const good = attack.sas('good');
    const target = attack.sas('target');
    const panel = attack.plain('panel');
    const other = attack.sas('other');
    const otherPlain = attack.plain('other-plain');
    for (const [n, [name, forge]] of Object.entries(TOKENS).entries()) {
      const victim = attack.sas(`sas-${n}`);
      attack.owners.push(() => rightToken(victim));
      attack.outside(`a token: ${name}`, () => forge(victim, other));
    }
    for (const [n, [name, forge]] of Object.entries(PASSWORDS).entries()) {
      const victim = attack.plain(`plain-${n}`);
      attack.owners.push(() => rightPassword(victim));
      attack.outside(`a password: ${name}`, () => forge(victim, otherPlain));
    }
    for (const { name, holder, forgery } of falseHolders(maker, trust)) {
      const x509 = holder.thumbprint === null ? ({ ca: true } as const) : { thumbprints: [holder.thumbprint] };
      attack.registered.push({ id: holder.id, auth: { x509 } });
      attack.outside(`a certificate: ${name}`, () => forgery);
    }
    const [before, after] = [1, 2].map(() => maker.selfSigned({ subject: '/CN=replaced' }));
    attack.registered.push({ id: 'replaced', auth: { x509: { thumbprints: [after!.thumbprint] } } });
    attack.outside('a certificate: one that was replaced', () => presenting('replaced', before!));
    const keyed = attack.sas('keyed');
    attack.outside('a certificate for a child that has a key', () =>
      presenting('keyed', maker.chain(maker.issuedBy(trust.shop, { subject: '/CN=keyed' }), trust.shop)),
    );
    const certified = maker.chain(maker.issuedBy(trust.shop, { subject: '/CN=certified' }), trust.shop);
    attack.registered.push({ id: 'certified', auth: { x509: { ca: true } } });
    attack.outside('a token for a child that has a certificate', () => rightToken({ ...keyed, id: 'certified' }));
    const gone = attack.sas('gone');
    attack.outside('a token of a child that was removed', () => rightToken(gone));
    const rotated = attack.sas('rotated');
    attack.outside('a token by a key that was rotated away', () => rightToken(rotated));
    for (const [n, deed] of DEEDS.entries()) attack.inside(deed, attack.sas(`deed-${n}`), 'target');
    slow(attack);
    assert.ok(attack.rows.length >= 200, `only ${attack.rows.length}`);

    const bystanders: { end(): void }[] = [];
    let sending: NodeJS.Timeout | undefined;
    try {
      await gateway.importChildren(attack.registered);
      await gateway.command(['children', 'remove', 'gone']);

      await gateway.command(['children', 'rotate-key', 'rotated', '--both']);
      await gateway.start();
      // The target hears its own, and the panel may speak to it: there is something to overhear.
      const [ear, sender] = [1, 2].map(() => new PacketClient({ host, port: 8883, tls: { ca } })) as [
        PacketClient,
        PacketClient,
      ];
      bystanders.push(ear, sender);
      ear.connect(rightToken(target));
      assert.equal(await ear.admission(), 0);
      ear.send({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [
          { topic: 'devices/target/messages/devicebound/#', qos: 1 },
          { topic: '$iothub/methods/POST/#', qos: 0 },
          { topic: '$iothub/twin/PATCH/properties/desired/#', qos: 0 },
        ],
      });
      ear.onPacket((packet) => {
        if (packet.cmd === 'publish' && packet.qos > 0) ear.send({ cmd: 'puback', messageId: packet.messageId! });
      });
      sender.connect(rightPassword(panel));
      assert.equal(await sender.admission(), 0);
      let sent = 0;
      sending = setInterval(() => {
        const topic = `holdfast/v1/${GATEWAY}/target/commands`;
        sender.send({
          cmd: 'publish',
          topic,
          payload: 'for the target alone',
          qos: 1,
          messageId: (sent++ % 60_000) + 1,
          retain: false,
          dup: false,
        });
      }, 100);
      for (const forgery of [
        rightToken(other),
        rightPassword(otherPlain),
        presenting('certified', certified),
        presenting('replaced', after!),
      ])
        await attack.enters(forgery);

      const child = new GoodChild({ host, ca, victim: good });
      bystanders.push(child);
      await until('the good child', async () => (await child.found()).acknowledged > 0);
      await sleep(QUIET_MS);
      const { latency: quiet } = await child.found();
      const rss = resident(gateway);
      const from = performance.now();
      const failures = await rowsIn(attack);
      const seconds = (performance.now() - from) / 1000;
      const { latency: loud } = await child.found();
      assert.deepEqual(failures, [], failures.join('\n'));

      for (const owner of attack.owners) await attack.enters(owner());
      const { sent: said, complaints, connections } = await child.finish();
      assert.deepEqual(complaints, []);
      assert.equal(connections, 1, 'the good child was thrown out');
      await watcher.until(
        'what the good child said',
        () => watcher.firstSights().filter(({ child }) => child === 'good').length >= said,
      );
      assert.deepEqual(
        [...new Set(watcher.firstSights().map(({ child }) => child))],
        ['good'],
        'something of a bad client went up',
      );
      assert.ok(watcher.events.every(({ body }) => !body.includes(FORGED)));
      const heard = ear.packets.filter((packet) => packet.cmd === 'publish');
      assert.ok(heard.length > 10, 'the target hears what is for it');
      assert.ok(
        heard.every(({ payload }) => payload.toString() === 'for the target alone'),
        'the target heard something else',
      );
      assert.ok(!ear.closed && !sender.closed, 'one who did nothing was thrown out');

      const log = gateway.process.log.join('\n') + gateway.process.stderr;
      assert.deepEqual(
        attack.secrets.filter((secret) => log.includes(secret) || log.includes(encodeURIComponent(secret))),
        [],
        'a secret is in the log',
      );
      assert.doesNotMatch(log, /sig=[A-Za-z0-9%]{20}/);
      assert.ok(!gateway.process.messages().some((message) => /uncaught|unhandled/i.test(message)));
      const line = (values: readonly number[]) => values.map((value) => value.toFixed(1)).join(' / ');
      context.diagnostic(
        `${attack.rows.length} bad clients in ${seconds.toFixed(0)} s; a good child's PUBACK after ${line(quiet)} ms before, ${line(loud)} ms meanwhile ` +
          `(median / 99 % / most); resident memory ${rss.toFixed(0)} MiB before, ${resident(gateway).toFixed(0)} MiB after`,
      );
      assert.ok(
        loud[1]! < Math.max(GOOD_MS_MAX, GOOD_TIMES_MAX * quiet[1]!),
        `a good child waited ${loud[1]} ms for its PUBACK`,
      );
    } finally {
      clearInterval(sending);
      for (const client of bystanders) client.end();
      await gateway.kill();
      await watcher.end();
      await mosquitto.end();
    }
  },
);
