import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Line } from '../src/above/liaison.ts';
import { Relay } from '../src/above/relay.ts';
import { hubRig } from './parts/hub-rig.ts';
import { RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const GATEWAY = {
  id: 'site',
  status: 'enabled',
  gateway: true,
  auth: { sas: { primaryKey: 'AAAA', secondaryKey: 'AAAA' } },
  modules: [],
} as const;

test('a gateway that is removed and added again has what is for it asked for again, over the same connection', async (t) => {
  const rig = await new RegistryRig(scratch()).open();
  t.after(() => rig.close());
  const { hub } = await hubRig({});
  t.after(() => hub.stop());
  const { store, registry } = rig.enrolment;
  const relay = new Relay({
    config: { gateway: { id: 'line-4' }, upstream: { dialect: 'holdfast' } },
    spool: { books: { ledger: { refused: {} } }, kept: () => Promise.resolve() },
    accept: () => Promise.resolve(),
    mustBeKnown: () => null,
    clock: rig.clock,
    log: pino({ enabled: false }),
  });
  t.after(() => relay.stop());
  const asked: string[] = [];
  const line: Line = {
    publish: () => undefined,
    subscribe: (filters) => Promise.resolve(void asked.push(...filters)),
  };
  const document = () =>
    relay.receive('site', { topic: 'holdfast/v1/site/children', body: Buffer.from('sealed'), qos: 1, retain: true });
  const kept = () => store.names('below/doc/').length;

  await registry.add({ ...GATEWAY, modules: [] });
  relay.open({ registry, store, hub });
  assert.ok(relay.subscriptions().some(({ filters }) => filters.includes('holdfast/v1/site/children')));
  relay.connected(line, true);
  await document();
  assert.equal(kept(), 1);

  await registry.remove('site', null);
  await until('nothing of it to stay', () => Promise.resolve(kept() === 0));
  await registry.add({ ...GATEWAY, modules: [] });
  relay.came('site');
  assert.ok(asked.includes('holdfast/v1/site/children'), 'what is retained comes again only to who asks');
  const once = asked.length;
  relay.came('site');
  assert.equal(asked.length, once);
});
