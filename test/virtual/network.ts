import assert from 'node:assert/strict';
import { pass, seconds, type Scenario } from './scenario.ts';
import { KEEPALIVE_SECS, TICK_MS, type Site } from './site.ts';

/** Longer than two keepalives: the gateway knows. */
const AWAY_MS = 5 * KEEPALIVE_SECS * 1_000;

/** Takes the way up away and gives it back; what was measured meanwhile must come, once and in order. */
async function away(site: Site, cut: () => Promise<unknown>, restore: () => Promise<unknown>): Promise<string> {
  const { watcher } = site;
  await site.caughtUp();
  const [begin, repeats] = [await site.time(), watcher.repeats()];
  await cut();
  // What was on the way has come by then.
  await pass(2_000);
  const before = watcher.events.length;
  await pass(AWAY_MS);
  const during = watcher.events.length - before;
  await restore();
  const [back, at] = [await site.time(), performance.now()];
  await site.caughtUp();
  const took = performance.now() - at;
  site.account();
  const kept = site.from('ticker').filter(({ acceptedAt }) => {
    const time = Date.parse(acceptedAt ?? '');
    return time > begin && time < back;
  }).length;
  assert.equal(during, 0, 'something came through a road that was closed');
  const most = (back - begin) / TICK_MS;
  assert.ok(kept > most * 0.5 && kept < most + 2, `${kept} readings of ${seconds(back - begin)}`);
  return `${kept} readings kept in ${seconds(back - begin)} and brought ${seconds(took)} after; ${watcher.repeats() - repeats} came twice`;
}

const EXPECTED = 'nothing arrives meanwhile; then every reading, once, in order, without a gap';

export const NETWORK: readonly Scenario[] = [
  {
    name: 'link-cut',
    done: 'the cable pulled (carrier lost) and put back',
    expected: EXPECTED,
    on: 'ready',
    run: (site) => {
      const link = (up: boolean) => site.machine.monitor.ask('set_link', { name: 'nic', up });
      return away(
        site,
        () => link(false),
        () => link(true),
      );
    },
  },
  {
    name: 'black-hole',
    done: 'every packet swallowed, the carrier stays (netem loss 100 %)',
    expected: EXPECTED,
    on: 'ready',
    run: async (site) => {
      const card = await site.machine.shell(`ip -o route get 10.0.2.2 | sed 's/.* dev \\([^ ]*\\).*/\\1/'`);
      return away(
        site,
        () => site.machine.shell(`tc qdisc add dev ${card} root netem loss 100%`),
        () => site.machine.shell(`tc qdisc del dev ${card} root`),
      );
    },
  },
  {
    name: 'broker-restart',
    done: 'the broker stopped and started again',
    expected: EXPECTED,
    on: 'ready',
    run: (site) =>
      away(
        site,
        () => site.broker.stop(),
        () => site.broker.start(),
      ),
  },
];
