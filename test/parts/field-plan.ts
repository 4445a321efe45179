import { setTimeout as sleep } from 'node:timers/promises';
import type { FieldClock } from './field-clock.ts';
import type { FieldSite } from './field-site.ts';
import { PacketClient } from './packet-client.ts';

/* What happens to a gateway in the field, and when. All times are those of its world. */

const SEC = 1000;
const MIN = 60 * SEC;
export const HOUR: number = 60 * MIN;
/** How far the clock is behind until somebody sets it, ms. */
export const BEHIND_MS: number = 40 * 24 * HOUR;
/** Longest that a bad client is put up with, ms. */
const PATIENCE_MS_MAX = 1_800_000;

type Deed = (site: FieldSite, clock: FieldClock) => Promise<void>;

/** What happens, from when on, ms since the beginning. One thing after the other: what is late makes the next late. */
interface Event {
  readonly at: number;
  readonly what: string;
  readonly deed: Deed;
}

const cut: Deed = ({ road }) => road.cut();
const heal: Deed = ({ road }) => road.heal();
const kill: Deed = async (site) => {
  await site.kill();
};

const during =
  (ms: number, begin: Deed, end: Deed = heal): Deed =>
  async (site, clock) => {
    await begin(site, clock);
    await sleep(ms);
    await end(site, clock);
  };

const again =
  (times: number, everyMs: number, deed: Deed): Deed =>
  async (site, clock) => {
    for (let n = 0; n < times; n++) {
      await deed(site, clock);
      await sleep(everyMs);
    }
  };

/** The clock jumps so far, and the kernel takes it for right. */
const setClock =
  (ms: number): Deed =>
  async (_, clock) => {
    clock.step(ms);
    clock.synchronise();
  };

/** The broker goes, stopped or killed, and comes back; the line only when the account is there again, since what the broker tells nobody is its own loss. */
const broker =
  (end: 'stop' | 'kill', awayMs: number): Deed =>
  async ({ mosquitto, road, account }) => {
    await mosquitto[end]();
    await road.cut();
    await sleep(awayMs);
    const before = account.subscribed;
    await mosquitto.start();
    await account.whenSubscribed(before + 1);
    await road.heal();
  };

const unplug =
  (line: keyof FieldSite['lines'], ms: number): Deed =>
  async ({ lines }) => {
    await lines[line].unplug();
    await sleep(ms);
    await lines[line].plugIn();
  };

const stuck =
  (ms: number): Deed =>
  async ({ lines: { oven } }) => {
    oven.stuck = true;
    await sleep(ms);
    oven.stuck = false;
  };

/** Lines that make no sense, twenty a second. */
const nonsense =
  (ms: number): Deed =>
  async ({ lines: { weather } }) => {
    for (let left = ms; left > 0; left -= SEC) {
      weather.write('\u0000\u00ff###;;\r\n'.repeat(20));
      await sleep(SEC);
    }
  };

const reload: Deed = async (site) => {
  await site.reload(site.yaml({ timeToLiveSecs: 432_000, messagesPerSec: 200 }), /taken up: /);
  await sleep(2 * SEC);
  await site.reload('gateway: { id: line-4, colour: green }\n', /colour/);
  await sleep(2 * SEC);
  await site.reload(site.yaml(), /taken up: /);
};

/** Three at once: one with a wrong password, one that speaks no MQTT, one that says nothing. */
const badClients: Deed = async ({ hubPort }) => {
  const from = (localAddress: string) => new PacketClient({ host: '127.0.0.1', port: hubPort, localAddress });
  const liar = from('127.0.0.66');
  const babbler = from('127.0.0.67');
  const mute = from('127.0.0.68');
  liar.connect({ clientId: 'c-0', username: 'c-0', password: 'guessed' });
  babbler.send(Buffer.from('GET / HTTP/1.1\r\nHost: gateway.local\r\n\r\n'));
  await Promise.all([liar, babbler, mute].map((client) => client.whenClosed(PATIENCE_MS_MAX)));
};

const flap: Deed = async ({ road }) => {
  await road.cut();
  await sleep(20 * SEC);
  await road.heal();
  await sleep(40 * SEC);
};

const slow: Deed = async ({ road }) => road.slow({ delayMs: 600, jitterMs: 200, lossPart: 0.02, stallMs: [200, 1200] });

export interface Plan {
  /** How long it lasts, and how long nothing happens at the end whatever was late. */
  readonly ms: number;
  readonly restMs: number;
  readonly sampleEveryMs: number;
  /** Garbage is collected for each so manieth sample. */
  readonly liveEvery: number;
  readonly orderEveryMs: number;
  readonly events: readonly Event[];
}

export const PLANS: Readonly<Record<string, Plan>> = {
  day: {
    ms: 24 * HOUR,
    restMs: HOUR,
    sampleEveryMs: 10 * MIN,
    liveEvery: 6,
    orderEveryMs: 15 * MIN,
    events: [
      { at: 3 * MIN, what: 'the clock is set for the first time: 40 days forward', deed: setClock(BEHIND_MS) },
      { at: 40 * MIN, what: 'killed', deed: kill },
      { at: 1 * HOUR, what: 'the line is gone for 6 1/2 hours: the quota fills', deed: cut },
      { at: 3 * HOUR, what: 'killed meanwhile', deed: kill },
      { at: 6.5 * HOUR, what: 'killed, the spool full', deed: kill },
      { at: 7.5 * HOUR, what: 'the line is back', deed: heal },
      { at: 8 * HOUR, what: 'killed for the last time', deed: kill },
      { at: 9 * HOUR, what: 'flapping: 20 s off, 40 s on, 20 times', deed: again(20, 0, flap) },
      { at: 10 * HOUR, what: 'the broker is restarted', deed: broker('stop', 30 * SEC) },
      { at: 10.5 * HOUR, what: 'the broker is killed, 2 minutes', deed: broker('kill', 2 * MIN) },
      { at: 11 * HOUR, what: 'a black hole, 30 minutes', deed: during(30 * MIN, async ({ road }) => road.blackHole()) },
      { at: 12 * HOUR, what: 'a sensor is pulled out for 20 minutes', deed: unplug('meter', 20 * MIN) },
      {
        at: 12.5 * HOUR,
        what: 'another is pulled out for 30 s, 5 times',
        deed: again(5, MIN, unplug('gps', 30 * SEC)),
      },
      { at: 13 * HOUR, what: 'a sensor says nothing for 40 minutes', deed: stuck(40 * MIN) },
      { at: 14 * HOUR, what: 'the clock jumps forward by an hour', deed: setClock(HOUR) },
      { at: 14.5 * HOUR, what: 'and back', deed: setClock(-HOUR) },
      { at: 15 * HOUR, what: 'reloads: changed, broken, as before; 3 times', deed: again(3, 5 * MIN, reload) },
      { at: 16 * HOUR, what: 'bad clients at the hub, 3 each minute for 20 minutes', deed: again(20, MIN, badClients) },
      { at: 17 * HOUR, what: 'a sensor talks nonsense, 20 lines a second for 30 minutes', deed: nonsense(30 * MIN) },
      { at: 18 * HOUR, what: 'a line with 600 ms and 2 % loss, 1 hour', deed: during(HOUR, slow) },
      { at: 20 * HOUR, what: 'the line is gone for 2 hours', deed: during(2 * HOUR, cut) },
      {
        at: 22.25 * HOUR,
        what: 'nothing goes up, 10 minutes',
        deed: during(10 * MIN, async ({ road }) => road.halfOpen('up')),
      },
      {
        at: 22.5 * HOUR,
        what: 'nothing comes down, 10 minutes',
        deed: during(10 * MIN, async ({ road }) => road.halfOpen('down')),
      },
    ],
  },
  short: {
    ms: 0,
    restMs: 0,
    sampleEveryMs: 30 * SEC,
    liveEvery: 5,
    orderEveryMs: 50 * SEC,
    events: [
      { at: 5 * SEC, what: 'the clock is set for the first time: 40 days forward', deed: setClock(BEHIND_MS) },
      { at: 10 * SEC, what: 'the line is gone', deed: cut },
      { at: 15 * SEC, what: 'killed meanwhile', deed: kill },
      { at: 40 * SEC, what: 'the line is back', deed: heal },
      { at: 45 * SEC, what: 'the broker is restarted', deed: broker('stop', 3 * SEC) },
      { at: 55 * SEC, what: 'a sensor is pulled out for 3 s', deed: unplug('meter', 3 * SEC) },
      { at: 62 * SEC, what: 'bad clients at the hub', deed: badClients },
      { at: 75 * SEC, what: 'a black hole, 50 s', deed: during(50 * SEC, async ({ road }) => road.blackHole()) },
      { at: 125 * SEC, what: 'the clock jumps forward by an hour', deed: setClock(HOUR) },
      { at: 127 * SEC, what: 'a reload', deed: reload },
      { at: 133 * SEC, what: 'a sensor talks nonsense, 20 lines a second for 3 s', deed: nonsense(3 * SEC) },
    ],
  },
};
