import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { Commands } from '../src/commands/commands.ts';
import { loadConfig } from '../src/config/load.ts';
import { FrontDoor } from '../src/hub/front-door.ts';
import { Twins } from '../src/twins/twins.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

test('what the hub needs may take its time: the start of the gateway, and so its sensors, wait for it no longer than 5 s', async () => {
  const clock = new ManualClock();
  // Nothing else is looked at before that is there.
  const options = { config: { hub: {} }, clock, log: pino({ level: 'silent' }) } as unknown as ConstructorParameters<
    typeof FrontDoor
  >[0];
  const never = new Promise<null>(() => undefined);
  const door = new FrontDoor(
    options,
    () => never,
    () => assert.fail('no twins'),
  );
  let opened = false;
  void door.open().then(() => (opened = true));
  clock.advance(4999);
  await settle();
  assert.equal(opened, false);
  clock.advance(1);
  await settle();
  assert.equal(opened, true);
  // Until then it is not known whom a message from above could be for.
  assert.throws(() => door.mailroom, /not known who may connect: what the hub needs is not there yet/);
  await door.stop();
});

test('a gateway that stops just when a port is tried again does not listen there afterwards', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const rig = new RegistryRig(scratch());
  rig.hub = `listen: { mqtt: "127.0.0.1:${(other.address() as AddressInfo).port}" }`;
  await rig.open();
  const { clock, logger: log, enrolment } = rig;
  const { config } = loadConfig(join(rig.dir, 'gateway.yaml'));
  let tries = 0;
  let stopped = false;
  const stop = () => void door.stop().then(() => (stopped = true));
  const door: FrontDoor = new FrontDoor(
    {
      config,
      commands: new Commands(clock),
      clock,
      log,
      age: () => clock.monotonic(),
      accept: () => Promise.resolve(),
      hasRoom: () => true,
      tooLarge: () => undefined,
      noticesWanted: () => false,
    },
    async () => {
      // The next one is about to take the place of the one that failed.
      if (++tries === 2) queueMicrotask(() => queueMicrotask(stop));
      return enrolment;
    },
    ({ store }) => new Twins({ store, changed: () => undefined }),
  );
  await door.open();
  assert.notEqual(door.status().hubFault, null);
  other.close();
  await once(other, 'close');
  await clock.flow(30_000);
  await until('the stop', () => stopped);
  await settle();
  assert.equal(door.front, null);
  await rig.close();
});
