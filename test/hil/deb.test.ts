import assert from 'node:assert/strict';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import mqtt, { type MqttClient } from 'mqtt';
import { type Mosquitto, startMosquitto } from '../parts/mosquitto.ts';
import { scratch } from '../parts/scratch.ts';
import { until } from '../parts/until.ts';
import { startWatcher, type Watcher } from '../parts/watcher.ts';
import { Board, CONSOLE, HOST, LINE_BY_SYSFS, makeDisk, UART } from './board.ts';
import { CHIP, NO_MACHINE } from './machine.ts';

/*
 * The arm64 .deb as it stands on a board: its own Node and add-ons on Debian's kernel, real edges, a real UART, a disk and a
 * network, and the broker on this computer.
 */

const { HOLDFAST_TEST_LONG, HOLDFAST_TEST_HIL } = process.env;
/** A second boot takes as long as all the rest. */
const NO_SECOND_BOOT: string | false =
  HOLDFAST_TEST_LONG !== '1' && HOLDFAST_TEST_HIL !== '1' && 'SKIP: the power is cut in npm run test:hil and test:long';
const CONTACT = 0;
const RELAY = 2;
/** Longest for messages to arrive, ms. */
const ARRIVAL_MS_MAX = 120_000;

const config = (port: number): string => `
gateway: { id: shed, profile: simulated, dataDir: /var/lib/holdfast }
upstream:
  url: mqtt://${HOST}:${port}
  keepaliveSecs: 10
  reconnect: { minSecs: 0.2, maxSecs: 1 }
storeAndForward: { quota: 16MiB }
children:
  - { id: contact, gpio: { line: { chip: ${CHIP}, offset: ${CONTACT} } } }
  - { id: old-contact, gpio: { line: { chip: ${CHIP}, offset: ${LINE_BY_SYSFS} } } }
  - { id: relay, gpio: { line: { chip: ${CHIP}, offset: ${RELAY} }, direction: out, initial: 0, safe: 1 } }
  - { id: meter, serial: { port: ${UART}, baudRate: 115200, decoder: json } }
  - { id: bus, serial: { port: ${CONSOLE}, baudRate: 9600, decoder: json, rs485: { delayAfterMs: 1 } } }
routes: { all: FROM /messages/* INTO $upstream }
`;

interface Stats {
  readonly ledger: { readonly pending: number };
}

interface Detected {
  readonly profile: string | null;
  readonly machine: { readonly model: string };
}

interface Report {
  readonly ok: boolean;
  readonly checks: readonly { readonly id: string; readonly result: string; readonly message: string }[];
}

describe('the arm64 .deb on a board', { skip: NO_MACHINE }, () => {
  let mosquitto: Mosquitto;
  let watcher: Watcher;
  let operator: MqttClient;
  let board: Board;
  const disk = join(scratch(), 'data.ext4');
  /** The last number that the meter has sent. */
  let sent = 0;
  let asked = 0;

  before(async () => {
    mosquitto = await startMosquitto();
    watcher = await startWatcher({ url: mosquitto.url, gateway: 'shed' });
    operator = await mqtt.connectAsync(mosquitto.url);
    makeDisk(disk);
    board = await Board.boot(config(mosquitto.port), disk);
  });

  after(async () => {
    await board?.end();
    await operator?.endAsync(true);
    await watcher?.end();
    await mosquitto?.end();
  });

  /** Lines of the meter, one after the other. */
  function measure(count: number): void {
    for (let i = 0; i < count; i++) board.uart.write(`{"n":${++sent}}\n`);
  }

  /** What a child has said, repeats left out. */
  function said(child: string, key: string): unknown[] {
    const events = watcher.firstSights().filter((event) => event.child === child);
    return events.map(({ body }) => (JSON.parse(body.toString()) as Record<string, unknown>)[key]);
  }

  /** Resolves when the child has said so many things. */
  async function untilSaid(child: string, count: number): Promise<void> {
    await watcher.until(
      () =>
        `${count} events of ${child}, ${said(child, 'n').length} are there:\n${board.machine.console().slice(-3_000)}`,
      () => said(child, 'n').length >= count,
      ARRIVAL_MS_MAX,
    );
  }

  /** Every number of the meter once, in order. */
  function complete(upTo: number): void {
    assert.deepEqual(
      said('meter', 'n'),
      Array.from({ length: upTo }, (_, i) => i + 1),
    );
    assert.deepEqual([watcher.gaps(), watcher.outOfOrder(), watcher.contradictions()], [[], [], []]);
  }

  async function invoke(child: string, method: string, payload: unknown): Promise<unknown> {
    const rid = `r${++asked}`;
    const [ask, answer] = ['req', 'res'].map((way) => `holdfast/v1/shed/${child}/methods/${method}/${way}/${rid}`);
    await operator.subscribeAsync(answer!);
    const answered = new Promise<unknown>((resolve) => {
      operator.on('message', (topic, body) => topic === answer && resolve(JSON.parse(body.toString())));
    });
    operator.publish(ask!, JSON.stringify({ payload }));
    return answered;
  }

  /** The broker has what was sent before, and the gateway knows: PUBACKs come in the same order as what comes down. */
  async function delivered(): Promise<void> {
    // Not one that makes a reading: that would be on its way when the cable is pulled.
    await invoke('shed', 'ping', undefined);
  }

  /** Pulls the network cable; resolves when the gateway has noticed. */
  async function cut(): Promise<void> {
    await delivered();
    const from = board.machine.console().length;
    await board.link(false);
    await board.untilLogged(/"msg":"[^"]*(link|connection)/, from);
  }

  test('holdfast check is content before the first start, and profile detect does not know the board', async (t) => {
    const { profile, machine } = await board.holdfast<Detected>('profile detect', 1);
    assert.deepEqual([profile, machine.model], [null, 'linux,dummy-virt']);
    // A visit to the broker may take 5 s, not always enough for an emulated processor; the next tests pay it a longer one.
    const report = await board.holdfast<Report>('check --skip upstream-mqtt');
    const message = (id: string): string => {
      const found = report.checks.find((each) => each.id === id);
      return `${found?.result} ${found?.message}`;
    };
    for (const { id, result, message: text } of report.checks)
      if (result !== 'OK') t.diagnostic(`${result} ${id}: ${text}`);
    assert.ok(report.ok);
    assert.match(message('gpio:contact'), /^OK .*by the character device \/dev\/gpiochip0/);
    assert.match(message('gpio:old-contact'), /sysfs/);
    assert.match(message('serial:meter'), /^OK /);
    assert.match(message('upstream-tcp'), /^OK /);
    assert.match(message('node'), /^OK Node\.js 24/);
  });

  test('edges are told by the character device and by sysfs', async () => {
    await board.startGateway();
    for (const [child, line] of [
      ['contact', CONTACT],
      ['old-contact', LINE_BY_SYSFS],
    ] as const) {
      await untilSaid(child, 1);
      for (const [i, voltage] of ([1, 0, 1, 0] as const).entries()) {
        await board.machine.pins.drive(line, voltage);
        await untilSaid(child, i + 2);
      }
      assert.deepEqual(said(child, 'value'), [0, 1, 0, 1, 0]);
    }
  });

  test('the direction of an RS-485 line is switched by the kernel', async () => {
    // The machine has no wire for RTS to look at: what can be seen is what the kernel's driver has taken on.
    await board.untilLogged(/"child":"bus","msg":"running"/);
    assert.deepEqual(await board.rs485(CONSOLE), { enabled: true, rtsOnSend: true, delayBeforeMs: 0, delayAfterMs: 1 });
    assert.deepEqual((await board.rs485(UART)).enabled, false);
  });

  test('an output is set from above, and the voltage is seen at the pin', async () => {
    board.machine.pins.forget();
    assert.deepEqual(await invoke('relay', 'set', 1), { status: 200, payload: { value: 1 } });
    assert.deepEqual(await invoke('relay', 'toggle', undefined), { status: 200, payload: { value: 0 } });
    await board.machine.pins.untilPut(2);
    assert.deepEqual(
      board.machine.pins.puts.map(({ line, voltage }) => [line, voltage]),
      [
        [RELAY, 1],
        [RELAY, 0],
      ],
    );
  });

  test('a UART is read and written', async () => {
    measure(10);
    await untilSaid('meter', 10);
    complete(10);
    const heard = new Promise((resolve) => createInterface({ input: board.uart }).once('line', resolve));
    assert.equal(((await invoke('meter', 'write', { line: 'calibrate' })) as { status: number }).status, 200);
    assert.equal(await heard, 'calibrate');
  });

  test(
    'the power is cut while the network is away: what was taken on is there after the next start',
    { skip: NO_SECOND_BOOT },
    async (t) => {
      await cut();
      const arrived = watcher.events.length;
      for (let round = 0; round < 10; round++) {
        measure(10);
        await board.edge(CONTACT, round % 2 === 0 ? 1 : 0);
      }
      const before = await until('all to be taken on', async () => {
        const { ledger } = await board.holdfast<Stats>('spool stats');
        return ledger.pending >= 110 && ledger;
      });
      assert.deepEqual([before.pending, watcher.events.length], [110, arrived]);
      const acknowledged = sent;
      // What of these is not on the disk yet may go.
      measure(20);
      await board.end();

      board = await Board.boot(config(mosquitto.port), disk);
      board.machine.pins.forget();
      await board.startGateway();
      await untilSaid('meter', acknowledged);
      await delivered();
      const kept = said('meter', 'n').length;
      t.diagnostic(`${acknowledged} taken on before the cut, 20 more on the line; ${kept} have come`);
      complete(kept);
      assert.deepEqual(said('contact', 'value').slice(5, 15), [1, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
      assert.deepEqual(watcher.losses, []);
      // It had not been told to stop, so the output begins with its safe state.
      assert.deepEqual(
        board.machine.pins.puts.map(({ line, voltage }) => [line, voltage]),
        [[RELAY, 1]],
      );
      sent = kept;
    },
  );

  test('the network is cut while readings go on: all are there, in order, when it is back', async (t) => {
    const before = sent;
    await cut();
    const [arrived, repeats] = [watcher.events.length, watcher.repeats()];
    for (let round = 0; round < 10; round++) {
      measure(10);
      await board.edge(CONTACT, round % 2 === 0 ? 1 : 0);
    }
    assert.equal(watcher.events.length, arrived);
    await board.link(true);
    await untilSaid('meter', before + 100);
    await delivered();
    complete(before + 100);
    assert.deepEqual(said('contact', 'value').slice(-10), [1, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
    assert.deepEqual(watcher.losses, []);
    // What is on its way when a connection dies is sent again, and may have arrived.
    t.diagnostic(`${watcher.repeats() - repeats} came twice`);
  });
});
