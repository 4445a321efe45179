import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { until } from '../parts/until.ts';
import { NotHere, pass, seconds, type Scenario } from './scenario.ts';
import { CONTACT, LONG_MS, RELAY, type Site } from './site.ts';

/** A sensor's pace: ms from line to line. */
const LINE_MS = 100;
/** How long it is out of its socket, ms. */
const OUT_MS = 6_000;
/** Lines that must come before and after. */
const LINES = 30;
/** What a burst is made of: more edges than the kernel keeps (1,024), closer than the gateway could take them. */
const EDGES = 2_400;
const EDGE_MS = 3;
const PL061 = '/sys/bus/amba/drivers/pl061_gpio';
const CHIP = '9030000.pl061';

/** A sensor that says `{"n":1}`, `{"n":2}` ... to whoever listens. */
class Sensor {
  said = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(wire: Socket) {
    this.#timer = setInterval(() => wire.write(`{"n":${++this.said}}\n`), LINE_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }
}

/** Plugs a serial port in, out and in again, while a sensor talks at it. */
async function replug(
  site: Site,
  child: string,
  wire: Socket,
  plug: () => Promise<unknown>,
  unplug: () => Promise<unknown>,
): Promise<string> {
  const heard = (): number[] =>
    site
      .from(child)
      .map(({ body }) => (JSON.parse(body.toString()) as { n: number }).n)
      .slice(before);
  const before = site.from(child).length;
  const some = async (than: number): Promise<number> => {
    const begin = performance.now();
    await site.watcher.until(
      `${LINES} lines of ${child}`,
      () => heard().filter((n) => n > than).length >= LINES,
      LONG_MS,
    );
    return performance.now() - begin - LINES * LINE_MS;
  };
  const sensor = new Sensor(wire);
  try {
    await plug();
    const first = await some(0);
    await unplug();
    const out = sensor.said;
    await pass(OUT_MS);
    const listed = await site.ask<{ id: string; state: string; lastError: string }[]>('list');
    const { state, lastError } = listed.find(({ id }) => id === child)!;
    assert.equal(state, 'waiting', `${child} without its port`);
    const back = sensor.said;
    await plug();
    const again = await some(back);
    const numbers = heard();
    const twice = numbers.length - new Set(numbers).size;
    assert.equal(twice, 0, 'a line came twice');
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    );
    const from = numbers.find((n) => n > back)!;
    const after = numbers.filter((n) => n >= from);
    assert.equal(after.length, after.at(-1)! - from + 1, 'a line is missing after the port was back');
    return `read ${seconds(first)} after it was plugged in; pulled out at line ${out}: "${lastError}"; read again ${seconds(again)} after it was back`;
  } finally {
    sensor.end();
    await unplug().catch(() => undefined);
  }
}

const TRACING = '/sys/kernel/tracing';

/**
 * How many edges the kernel has numbered: calls of the function that does so (gpiolib-cdev.c). Interrupts are not the measure: two that
 * come before that thread has run are one edge.
 */
async function numbered(site: Site): Promise<number> {
  return Number(await site.machine.shell(`awk '$1 == "edges" { print $2 }' ${TRACING}/kprobe_profile`));
}

export const HARDWARE: readonly Scenario[] = [
  {
    name: 'uart',
    done: 'a PCI serial port (16550) with a talking sensor plugged in, pulled out, plugged in',
    expected: 'lines come; the child waits with the reason; lines come again, none twice, none missing after',
    on: 'ready',
    run: async (site) => {
      const { monitor, uart } = site.machine;
      return replug(
        site,
        'uart',
        uart,
        () => monitor.ask('device_add', { driver: 'pci-serial', id: 'port', chardev: 'uart', bus: 'slot1' }),
        async () => {
          // PCI Express asks the guest first, which takes the 5 s in which somebody could press the button again.
          await monitor.ask('device_del', { id: 'port' });
          await site.machine.shell(
            'n=0; while grep -q 16550 /proc/tty/driver/serial; do n=$((n+1)); test $n -lt 300; sleep 0.1; done',
          );
        },
      );
    },
  },
  {
    name: 'ftdi',
    done: 'a USB serial adapter (FTDI) with a talking sensor plugged in, pulled out, plugged in',
    expected: 'lines come; the child waits with the reason; lines come again, none twice, none missing after',
    on: 'ready',
    run: async (site) => {
      const { monitor, usb } = site.machine;
      return replug(
        site,
        'adapter',
        usb,
        () => monitor.ask('device_add', { driver: 'usb-serial', id: 'adapter', chardev: 'usb', bus: 'sockets.0' }),
        () => monitor.ask('device_del', { id: 'adapter' }),
      );
    },
  },
  {
    name: 'gpio-removal',
    done: 'the driver of the GPIO chip unbound under an input and an output, and bound again',
    expected: 'both wait with the reason; then the input tells its edges and the output can be set again',
    on: 'ready',
    run: async (site) => {
      const pins = await site.machine.pins();
      const states = async () =>
        (await site.ask<{ id: string; state: string; lastError: string }[]>('list'))
          .filter(({ id }) => id === 'contact' || id === 'relay')
          .map(({ state, lastError }) => ({ state, lastError }));
      const all = (state: string) =>
        until(
          `the lines to be ${state}`,
          async () => {
            const found = await states();
            return found.every((each) => each.state === state) && found;
          },
          LONG_MS,
        );
      await all('running');
      await site.machine.shell(`echo ${CHIP} > ${PL061}/unbind`);
      const at = performance.now();
      let gone: { lastError: string }[];
      try {
        gone = await all('waiting');
      } finally {
        await site.machine.shell(`echo ${CHIP} > ${PL061}/bind`);
      }
      const noticed = performance.now() - at;
      await all('running');
      const before = site.from('contact').length;
      const level = (JSON.parse(site.from('contact').at(-1)!.body.toString()) as { value: 0 | 1 }).value;
      const other = level === 0 ? 1 : 0;
      await pins.drive(CONTACT, other);
      await site.watcher.until('the edge', () => site.from('contact').length > before, LONG_MS);
      pins.forget();
      await site.machine.shell(
        `holdfast method invoke relay set --payload 1 && holdfast method invoke relay set --payload 0`,
      );
      const wire = pins.puts.filter(({ line }) => line === RELAY).map(({ voltage }) => voltage);
      assert.deepEqual(wire, [1, 0], 'what was seen at the pin of the output');
      return `noticed within ${seconds(noticed)}: "${gone[0]!.lastError}"; both run again, the edge came, the output was seen at the pin`;
    },
  },
  {
    name: 'edge-burst',
    done: `${EDGES} edges while the gateway's process stands still (SIGSTOP)`,
    expected: 'edges told + edges told to be lost = edges that the kernel has numbered (kprobe)',
    on: 'ready',
    run: async (site) => {
      const pins = await site.machine.pins();
      await site.machine.shell(
        `mountpoint -q ${TRACING} || mount -t tracefs tracefs ${TRACING}; ` +
          `echo 'p:edges edge_irq_thread' >> ${TRACING}/kprobe_events && echo 1 > ${TRACING}/events/kprobes/edges/enable`,
      );
      const count = async (): Promise<{ told: number; lost: number }> => {
        // A batch may be read after the reading that this waits for.
        await site.caughtUp();
        for (let seen = -1; seen !== site.from('contact').length; await pass(2_000)) seen = site.from('contact').length;
        const told = site.from('contact');
        return {
          told: told.length,
          lost: told.reduce((sum, { properties }) => sum + Number(properties['lost'] ?? 0), 0),
        };
      };
      const [before, first] = [await count(), await numbered(site)];
      const { pid } = await site.unit();
      await site.machine.shell(`kill -STOP ${pid}`);
      try {
        for (let n = 1; n <= EDGES; n++) {
          await pins.drive(CONTACT, n % 2 === 1 ? 1 : 0);
          await pass(EDGE_MS);
        }
      } finally {
        await site.machine.shell(`kill -CONT ${pid}`);
      }
      const after = await count();
      const edges = (await numbered(site)) - first;
      await site.machine.shell(
        `echo 0 > ${TRACING}/events/kprobes/edges/enable; echo '-:edges' >> ${TRACING}/kprobe_events`,
      );
      const [told, lost] = [after.told - before.told, after.lost - before.lost];
      assert.equal((await site.unit()).pid, pid, 'the gateway was not restarted');
      assert.ok(edges > EDGES / 2, `the kernel saw only ${edges} of ${EDGES} edges: the machine is too busy for this`);
      assert.equal(told + lost, edges);
      assert.ok(lost > 0, 'nothing was lost: the burst was too short');
      return `of ${EDGES} edges the kernel has numbered ${edges} = ${told} told + ${lost} told to be lost`;
    },
  },
  {
    name: 'hardware-watchdog',
    done: 'a watchdog (i6300esb) plugged in, and when systemd feeds it (RuntimeWatchdogSec) the kernel stopped for good (panic)',
    expected: 'the watchdog resets the machine; after the next boot nothing acknowledged is lost',
    on: 'ready',
    run: async (site) => {
      const { machine, speaker } = site;
      const feeds = (await machine.shell('systemctl show -P RuntimeWatchdogUSec')).trim();
      if (feeds === '0' || feeds === 'infinity') throw new NotHere('the image has no RuntimeWatchdogSec');
      await machine.monitor.ask('device_add', { driver: 'i6300esb', id: 'watchdog', bus: 'slot3' });
      const sys = '/sys/class/watchdog/watchdog0';
      await until(
        'systemd to feed the watchdog',
        async () => (await machine.agent.run(`cat ${sys}/state`)).output === 'active',
        LONG_MS,
      );
      const device = await machine.shell(`cat ${sys}/identity`);
      const connections = speaker.connections;
      speaker.start();
      await until('the speaker to be heard', () => speaker.connections > connections, LONG_MS);
      await pass(2_000);
      await machine.shell('sysctl -q kernel.panic=0 kernel.sysrq=1');
      void machine.agent.run('echo c > /proc/sysrq-trigger').catch(() => undefined);
      const at = performance.now();
      // With -no-reboot a reset is the machine's end.
      await machine.whenReset(site.random, LONG_MS);
      const took = performance.now() - at;
      await speaker.stop();
      await site.ready();
      await site.caughtUp();
      site.account();
      return `${device}, fed by systemd (${feeds}): reset ${seconds(took)} after the kernel stopped; nothing acknowledged was lost`;
    },
  },
];
