import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqtt, { type MqttClient } from 'mqtt';
import { SystemClock } from '../src/clock/system-clock.ts';
import { holdfastChild } from '../src/dialects/holdfast-child.ts';
import { iothubChild } from '../src/dialects/iothub.ts';
import { Hub } from '../src/hub/hub.ts';
import { hashPassword } from '../src/registry/password.ts';
import { newSasKey } from '../src/registry/registry.ts';
import { ManualClock } from './manual-clock.ts';
import { Backroom } from './parts/hub-rig.ts';
import { decided, HUB, presentedBy, RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { documentOf, sasChild } from './parts/sealed-documents.ts';
import { DocumentSchema } from '../src/registry/document.ts';
import { until } from './parts/until.ts';

/** A hub that asks a real registry, on a port of its own. */
class Rig extends RegistryRig {
  hubOpen!: Hub;
  readonly backroom = new Backroom();
  readonly clients = new Map<string, MqttClient>();

  constructor() {
    super(scratch(), new ManualClock({ wall: Date.now() }));
  }

  override async open(): Promise<this> {
    await super.open();
    const clock = new SystemClock(() => true);
    this.hubOpen = new Hub({
      gateway: 'line-4',
      listen: { mqtt: { host: '127.0.0.1', port: 0 } },
      dialects: { iothub: iothubChild('line-4'), holdfast: holdfastChild('line-4') },
      gatekeeper: this.enrolment.gatekeeper(),
      services: this.backroom,
      store: this.enrolment.store,
      clock,
      age: () => clock.monotonic(),
      log: this.logger,
    });
    await this.hubOpen.start();
    return this;
  }

  override async close(): Promise<void> {
    for (const client of this.clients.values()) client.end(true);
    await this.hubOpen.stop();
    await super.close();
  }

  async connect(id: string, password: Buffer, username = `${HUB}/${id}/?api-version=2021-04-12`): Promise<void> {
    const url = `mqtt://127.0.0.1:${this.hubOpen.ports['mqtt']}`;
    const options = { clientId: id, username, password, reconnectPeriod: 0 };
    this.clients.set(id, await mqtt.connectAsync(url, options, false));
  }

  bySas(id: string, key: string, as = id): Promise<void> {
    return this.connect(id, this.token(as, key));
  }

  async take(version: number, children: readonly unknown[]): Promise<void> {
    const document = DocumentSchema.parse(documentOf(version, children));
    await this.enrolment.registry.takeDocument({ document, signed: false }, null);
  }

  /** Who is connected, when the hub has come round to all of it. */
  async connected(expected: readonly string[]): Promise<void> {
    const now = () => [...this.clients].filter(([, { connected }]) => connected).map(([id]) => id);
    await until(`only ${expected.join(', ')} to be connected`, () => now().length <= expected.length);
    // Whoever answers now was not cut off by what was taken before.
    await Promise.all(
      now().map((id) => {
        const client = this.clients.get(id)!;
        return Promise.race([client.subscribeAsync(topicOf(id), { qos: 1 }), closed(client)]);
      }),
    );
    assert.deepEqual(now().sort(), [...expected].sort());
  }
}

const closed = (client: MqttClient) => new Promise<void>((resolve) => client.once('close', resolve));
const topicOf = (id: string) =>
  `devices/${id.replace('/', '/modules/')}/${id.includes('/') ? 'inputs' : 'messages/devicebound'}/#`;

/** Stopped in any case: a hub that goes on keeps the process. */
async function rigged(body: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = await new Rig().open();
  try {
    await body(rig);
  } finally {
    await rig.close();
  }
}

test('a document cuts off exactly those whose credential counts no more', () =>
  rigged(async (rig) => {
    const [a, b, c, m, n] = Array.from({ length: 5 }, newSasKey) as [string, string, string, string, string];
    const modules = (...each: [string, string][]) => ({ modules: each.map(([id, key]) => sasChild(id, key)) });
    await rig.take(1, [
      sasChild('by-first', a, b, modules(['own', m], ['by-child', n])),
      sasChild('by-second', a, b, modules(['own', m], ['by-child', n])),
      sasChild('same', a),
      sasChild('gone', a, undefined, modules(['own', m])),
      sasChild('disabled', a, undefined, modules(['own', m])),
      sasChild('host', a, undefined, modules(['stays', m], ['rotated', n], ['removed', m])),
      sasChild('lower', a),
    ]);
    for (const [child, key] of [
      ['by-first', a],
      ['by-second', b],
    ] as const) {
      await rig.bySas(child, key);
      await rig.bySas(`${child}/own`, m);
      await rig.bySas(`${child}/by-child`, key, child);
    }
    for (const id of ['same', 'gone', 'disabled', 'host', 'lower']) await rig.bySas(id, a);
    for (const id of ['gone/own', 'disabled/own', 'host/stays', 'host/removed']) await rig.bySas(id, m);
    await rig.bySas('host/rotated', n);
    assert.equal(rig.clients.size, 16);

    // The first key becomes the second, the second counts no more.
    await rig.take(2, [
      sasChild('by-first', c, a, modules(['own', m], ['by-child', n])),
      sasChild('by-second', c, a, modules(['own', m], ['by-child', n])),
      sasChild('same', a),
      sasChild('disabled', a, undefined, { ...modules(['own', m]), status: 'disabled' }),
      sasChild('host', a, undefined, modules(['stays', m], ['rotated', c], ['new', m])),
      sasChild('lower', a, undefined, { gateway: true }),
    ]);
    const stay = ['by-first', 'by-first/own', 'by-first/by-child', 'by-second/own', 'same', 'host', 'host/stays'];
    await rig.connected(stay);
    const ended: [id: string, key: string, as: string, why: RegExp][] = [
      ['by-second', b, 'by-second', /not by the key/],
      ['by-second/by-child', b, 'by-second', /another resource|not by the key/],
      ['gone', a, 'gone', /no such child/],
      ['disabled', a, 'disabled', /disabled/],
      ['host/rotated', n, 'host/rotated', /not by the key/],
      ['host/removed', m, 'host/removed', /no such module/],
    ];
    for (const [id, key, as, why] of ended)
      assert.match(await decided(rig, presentedBy(id, { password: rig.token(as, key) })), why, `${id} stays out`);
    await rig.bySas('by-second', c);
    await rig.bySas('host/rotated', c);
    await rig.bySas('lower', a);
    await rig.connected([...stay, 'by-second', 'host/rotated', 'lower']);
  }));

test('a document that changes nothing of a child by password, or adds to it, cuts nobody off; another password does', () =>
  rigged(async (rig) => {
    const [first, second] = [await hashPassword(Buffer.from('one')), await hashPassword(Buffer.from('two'))];
    const panel = (password: string, modules: unknown[] = []) => ({ id: 'panel', auth: { password }, modules });
    await rig.take(1, [panel(first)]);
    await rig.connect('panel', Buffer.from('one'), 'panel');
    await rig.take(2, [panel(first, [sasChild('m')]), sasChild('other')]);
    const client = rig.clients.get('panel')!;
    await Promise.race([client.publishAsync('holdfast/v1/line-4/panel/events', 'x', { qos: 1 }), closed(client)]);
    assert.ok(client.connected, 'it was not cut off');
    await rig.take(3, [panel(second)]);
    await until('it to be cut off', () => !client.connected);
  }));
