import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Commands } from '../src/commands/commands.ts';
import { loadConfig } from '../src/config/load.ts';
import { Front } from '../src/hub/front.ts';
import { newSasKey } from '../src/registry/registry.ts';
import { Twins } from '../src/twins/twins.ts';
import { Relay } from '../src/above/relay.ts';
import { settle } from './manual-clock.ts';
import { RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { documentOf } from './parts/sealed-documents.ts';
import { until } from './parts/until.ts';

/** The hub's front over a real registry, with a gateway `site` below that leads to another; nobody connects. */
async function opened(before = new RegistryRig(scratch())) {
  const rig = await before.open();
  const { clock, logger: log, enrolment } = rig;
  const { config } = loadConfig(join(rig.dir, 'gateway.yaml'));
  const twins = new Twins({ store: enrolment.store, changed: () => undefined });
  const commands = new Commands(clock);
  const accept = () => Promise.resolve();
  const spool = { books: { ledger: { refused: {} } }, kept: accept };
  const below = new Relay({ config, spool, accept, mustBeKnown: () => null, clock, log });
  const front = new Front({
    config,
    enrolment,
    twins,
    commands,
    clock,
    log,
    accept,
    below,
    age: () => clock.monotonic(),
    hasRoom: () => true,
    tooLarge: () => undefined,
    noticesWanted: () => false,
  });
  const given = async (child: string) => {
    const message = front.queue(child, null, { body: Buffer.from('wait') }, 3600);
    await twins.report(child, null, Buffer.from('{"on":true}'));
    await clock.flow(10);
    await message;
  };
  const left = () => ({ queued: front.status().queued, twins: twins.ids(), below: below.owns('site', 'beneath') });
  /** The medium takes nothing meanwhile. */
  const refused = async (what: () => Promise<unknown>) => {
    const { state } = rig;
    const put = state.putBytes.bind(state);
    state.putBytes = () => Promise.reject(new Error('the medium takes nothing'));
    await assert.rejects(what(), /the medium takes nothing/);
    await settle();
    state.putBytes = put;
  };
  const close = async () => {
    await front.stop();
    below.stop();
    await rig.close();
  };
  return { rig, below, twins, given, left, refused, close };
}

function child(id: string) {
  return { id, status: 'enabled' as const, auth: { sas: { primaryKey: newSasKey() } }, modules: [] };
}

test('what belongs to a child stays while its removal is not on the medium, and goes with that', async () => {
  const { rig, below, given, left, refused, close } = await opened();
  const { registry } = rig.enrolment;
  await registry.add({ ...child('site'), gateway: true });
  assert.equal(below.claim('site', 'beneath'), true);
  await given('site');
  await refused(() => registry.remove('site', null));
  assert.deepEqual(left(), { queued: 1, twins: ['site'], below: true });
  await registry.remove('site', null);
  await until('its twin to go', () => left().twins.length === 0);
  assert.deepEqual(left(), { queued: 0, twins: [], below: false });
  await close();
});

test('the same of one that a registry document leaves out', async () => {
  const { rig, given, left, refused, close } = await opened();
  const { registry } = rig.enrolment;
  const take = (version: number, ids: readonly string[]) =>
    registry.takeDocument({ document: documentOf(version, ids.map(child)), signed: false }, null);
  await take(1, ['a', 'b']);
  await given('a');
  await given('b');
  await refused(() => take(2, ['b']));
  assert.equal(registry.find('a'), undefined, 'it is cut off at once');
  assert.deepEqual(left(), { queued: 2, twins: ['a', 'b'], below: false });
  // That another one is removed on the medium says nothing of it.
  await registry.add(child('c'));
  await registry.remove('c', null);
  await settle();
  assert.deepEqual(left(), { queued: 2, twins: ['a', 'b'], below: false });
  await take(2, ['b']);
  await until('its twin to go', () => left().twins.length === 1);
  assert.deepEqual(left(), { queued: 1, twins: ['b'], below: false });
  await close();
});

test('the twin of what the gateway reads itself by now stays when the credentials of that id are removed', async () => {
  const { rig, close } = await opened();
  const { store } = rig.enrolment;
  // From a time when it connected.
  await store.put([['child/press-1', Buffer.from(JSON.stringify({ ...child('press-1'), origin: 'local' }))]]);
  await close();
  const again = await opened(rig);
  await again.twins.report('press-1', null, Buffer.from('{"on":true}'));
  await again.rig.enrolment.registry.remove('press-1', null);
  await settle();
  await again.rig.enrolment.store.settled();
  assert.deepEqual(again.left(), { queued: 0, twins: ['press-1'], below: false });
  await again.close();
});
