import assert from 'node:assert/strict';
import { test } from 'node:test';
import { credentialName } from '../src/registry/identity.ts';
import { newSasKey } from '../src/registry/registry.ts';
import { ManualClock } from './manual-clock.ts';
import { decided, HUB, outcome, presentedBy, RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';

const [primaryKey, secondaryKey, moduleKey] = [newSasKey(), newSasKey(), newSasKey()];
const panel = {
  id: 'panel',
  status: 'enabled',
  auth: { sas: { primaryKey, secondaryKey } },
  modules: [{ id: 'filter', auth: { sas: { primaryKey: moduleKey } } }],
} as const;

async function rigWithPanel(clock?: ManualClock): Promise<RegistryRig> {
  const rig = await new RegistryRig(scratch(), clock).open();
  await rig.enrolment.registry.add(structuredClone(panel) as never);
  return rig;
}

test('before there is any child the answer is that one may ask again, not that one is unknown', async () => {
  const rig = await new RegistryRig(scratch()).open();
  const keeper = rig.enrolment.gatekeeper();
  const presented = presentedBy('panel', { password: rig.token('panel', primaryKey) });
  assert.match(outcome(await keeper.admit(presented)), /^unavailable: /);
  await rig.enrolment.registry.add(structuredClone(panel) as never);
  assert.equal(outcome(await keeper.admit(presented)), 'in');
  await rig.close();
});

test('a device comes in with a token by its primary or its secondary key, after a restart, too', async () => {
  const rig = await rigWithPanel();
  await rig.again();
  const keeper = rig.enrolment.gatekeeper();
  for (const key of [primaryKey, secondaryKey]) {
    const admission = await keeper.admit(presentedBy('panel', { password: rig.token('panel', key) }));
    assert.ok('client' in admission);
    assert.deepEqual(admission.client, {
      child: 'panel',
      module: null,
      dialect: 'iothub',
      grants: { invoke: [], send: [], observe: [] },
      gateway: false,
      expiresAt: (Math.floor(rig.clock.wall() / 1000) + 3600) * 1000,
      credential: credentialName(key),
    });
  }
  await rig.close();
});

test('a module comes in with its own key or that of its device, and its key lets nobody else in', async () => {
  const rig = await rigWithPanel();
  const keeper = rig.enrolment.gatekeeper();
  const tries: [string, Buffer, string][] = [
    ['panel/filter', rig.token('panel/filter', moduleKey), 'in'],
    ['panel/filter', rig.token('panel/filter', primaryKey), 'in'],
    ['panel/filter', rig.token('panel', secondaryKey), 'in'],
    ['panel/filter', rig.token('panel', moduleKey), 'not authorised: the signature is for another resource'],
    ['panel', rig.token('panel', moduleKey), 'not authorised: the signature is not by the key of the child'],
    ['panel', rig.token('panel/filter', primaryKey), 'not authorised: the signature is for another resource'],
    ['panel/other', rig.token('panel/other', primaryKey), 'not authorised: the child has no such module'],
  ];
  for (const [id, password, expected] of tries) {
    assert.equal(await decided(rig, presentedBy(id, { password }), keeper), expected, id);
  }
  await rig.close();
});

test('nobody comes in with a wrong key, a wrong resource, an expired token, a policy, another hub or no token', async () => {
  const rig = await rigWithPanel();
  const keeper = rig.enrolment.gatekeeper();
  const good = rig.token('panel', primaryKey);
  const tries: [Parameters<typeof presentedBy>[1], RegExp][] = [
    [{ password: rig.token('panel', newSasKey()) }, /not by the key/],
    [{ password: rig.token('other', primaryKey) }, /another resource/],
    [{ password: rig.token('panel', primaryKey, { hub: 'other.azure-devices.net' }) }, /another resource/],
    [{ password: rig.token('panel', primaryKey, { secs: -1 }) }, /has expired/],
    [{ password: rig.token('panel', primaryKey, { keyName: 'iothubowner' }) }, /of a policy/],
    [{ password: undefined }, /no shared access signature/],
    [
      { password: Buffer.from(good.toString().replace(/sig=(%..|.)/, (sig) => (sig === 'sig=A' ? 'sig=B' : 'sig=A'))) },
      /not by the key/,
    ],
    [{ password: Buffer.from(good.toString().replace(/se=\d/, 'se=9')) }, /not by the key/],
    [{ password: Buffer.from('SharedAccessSignature sr=%&sig=%&se=1') }, /no shared access signature/],
    [{ password: good, username: `other.azure-devices.net/panel/?api-version=2021-04-12` }, /another hub/],
    [{ password: good, username: `${HUB}/other/?api-version=2021-04-12` }, /^bad client id: /],
    [{ password: good, clientId: 'other', username: `${HUB}/other/?api-version=2021-04-12` }, /no such child/],
    [{ password: good, clientId: 'press-1', username: `${HUB}/press-1/?api-version=2021-04-12` }, /no such child/],
    [{ password: good, clientId: '', username: undefined }, /^bad client id: /],
    [{ password: good, clientId: 'a\0b', username: 'a/b/c/d' }, /^bad client id: /],
  ];
  for (const [what, why] of tries) {
    assert.match(await decided(rig, presentedBy('panel', what), keeper), why);
  }
  // The name by which the gateway itself is called is as good as that of the hub, in any case of letters.
  const own = presentedBy('panel', {
    username: 'Gateway.LOCAL/panel/?api-version=2021-04-12',
    password: rig.token('panel', primaryKey, { hub: 'GATEWAY.local' }),
  });
  assert.equal(outcome(await keeper.admit(own)), 'in');
  for (const secret of [primaryKey, secondaryKey, moduleKey, good.toString()]) {
    assert.ok(!rig.log.join('').includes(secret), 'a secret is in the log');
  }
  await rig.close();
});

test('while the time is not known, grace lets expired tokens in and says when they end, strict lets nobody in', async () => {
  const clock = new ManualClock({ known: false });
  const rig = await rigWithPanel(clock);
  const expired = presentedBy('panel', { password: rig.token('panel', primaryKey, { secs: -100 }) });
  const wrong = presentedBy('panel', { password: rig.token('panel', newSasKey(), { secs: 100 }) });
  const admission = await rig.enrolment.gatekeeper().admit(expired);
  assert.ok('client' in admission && admission.client.expiresAt! < clock.wall());
  assert.match(await decided(rig, wrong), /^not authorised/);
  clock.setKnown(true);
  assert.match(await decided(rig, expired), /^not authorised: the signature has expired/);

  await rig.close();
  clock.setKnown(false);
  rig.hub = 'tokenExpiry: strict';
  await rig.open();
  const good = presentedBy('panel', { password: rig.token('panel', primaryKey) });
  assert.match(await decided(rig, good), /^unavailable: the time is not known/);
  assert.match(await decided(rig, wrong), /^not authorised/);
  clock.setKnown(true);
  assert.equal(await decided(rig, good), 'in');
  await rig.close();
});

test('who is removed, disabled or has a new key is cut off with its modules, and stays out', async () => {
  const rig = await rigWithPanel();
  const { registry } = rig.enrolment;
  const keeper = rig.enrolment.gatekeeper();
  const cut: string[] = [];
  keeper.onRevoked((child, module) => cut.push(module === null ? child : `${child}/${module}`));
  const by = (key: string) => decided(rig, presentedBy('panel', { password: rig.token('panel', key) }), keeper);

  const made = await registry.rotateKey('panel', null, false);
  assert.deepEqual(cut.splice(0), ['panel', 'panel/filter']);
  assert.ok('sas' in made && made.sas.secondaryKey === primaryKey);
  assert.equal(await by(made.sas.primaryKey), 'in');
  assert.equal(await by(primaryKey), 'in', 'the key before is the secondary one');
  assert.match(await by(secondaryKey), /not by the key/);
  await registry.rotateKey('panel', null, true);
  cut.splice(0);
  assert.match(await by(primaryKey), /not by the key/);

  const { auth } = registry.find('panel')!;
  const key = 'sas' in auth ? auth.sas.primaryKey : '';
  await registry.setStatus('panel', 'disabled');
  assert.deepEqual(cut.splice(0), ['panel', 'panel/filter']);
  assert.match(await by(key), /disabled/);
  await rig.again();
  assert.match(await decided(rig, presentedBy('panel', { password: rig.token('panel', key) })), /disabled/);
  await rig.enrolment.registry.setStatus('panel', 'enabled');
  await rig.enrolment.registry.remove('panel', 'filter');
  assert.deepEqual(rig.enrolment.registry.find('panel')?.modules, []);
  await rig.enrolment.registry.remove('panel', null);
  assert.equal(rig.enrolment.registry.empty, true);
  await rig.again();
  assert.equal(rig.enrolment.registry.empty, true);
  await rig.close();
});

test('what the medium did not take has not happened, and can be asked for again', async () => {
  const rig = await rigWithPanel();
  const refused = async (what: () => Promise<unknown>) => {
    const putBytes = rig.state.putBytes.bind(rig.state);
    rig.state.putBytes = () => Promise.reject(new Error('the medium takes nothing'));
    await assert.rejects(what(), /the medium takes nothing/);
    rig.state.putBytes = putBytes;
  };
  /** Refused first; then it is done, and there after a restart. */
  const twice = async (what: () => Promise<unknown>) => {
    await refused(what);
    await what();
    await rig.again();
  };
  await refused(() => rig.enrolment.registry.rotateKey('panel', null, true));
  const own = presentedBy('panel', { password: rig.token('panel', primaryKey) });
  assert.equal(await decided(rig, own), 'in', 'nobody was told the new keys');
  await twice(() => rig.enrolment.registry.setStatus('panel', 'disabled'));
  assert.equal(rig.enrolment.registry.find('panel')?.status, 'disabled');
  await twice(() => rig.enrolment.registry.remove('panel', 'filter'));
  assert.deepEqual(rig.enrolment.registry.find('panel')?.modules, []);
  await twice(() => rig.enrolment.registry.remove('panel', null));
  assert.equal(rig.enrolment.registry.empty, true);
  await rig.close();
});

test('a child whose record is damaged is locked out and said, keeps nobody else out, and can be added again', async () => {
  const rig = await rigWithPanel();
  const other = { id: 'lamp', status: 'enabled', auth: { sas: { primaryKey: moduleKey } }, modules: [] } as const;
  await rig.enrolment.registry.add(structuredClone(other) as never);
  const record = rig.state.bytes('sealed/child/panel')!;
  record[record.length - 1]! ^= 1;
  await rig.state.putBytes([['sealed/child/panel', record]]);
  await rig.again();
  const panelToken = () => presentedBy('panel', { password: rig.token('panel', primaryKey) });
  assert.match(await decided(rig, panelToken()), /no such child/);
  assert.equal(await decided(rig, presentedBy('lamp', { password: rig.token('lamp', moduleKey) })), 'in');
  assert.ok(rig.log.some((line) => /"child":"panel".*the sealed record .* is damaged/.test(line)));
  assert.ok(rig.state.bytes('sealed/child/panel')!.equals(record), 'it is left as it is');
  await rig.enrolment.registry.add(structuredClone(panel) as never);
  await rig.again();
  assert.equal(await decided(rig, panelToken()), 'in');
  await rig.close();
});
