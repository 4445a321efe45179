import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Fleet, type Identity } from '../src/fleet/fleet.ts';
import { OperatorFolder } from '../src/fleet/operator-folder.ts';
import { newSasKey } from '../src/registry/registry.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { PlayedGateway, type Played } from './parts/played-gateway.ts';
import { scratch } from './parts/scratch.ts';

let broker: Mosquitto;
const ends: (() => Promise<void>)[] = [];

before(async () => {
  broker = await startMosquitto();
});

after(async () => {
  for (const end of ends) await end();
  await broker.end();
});

/** An operator with keys of their own, or with those in `folder`. */
async function operator(folder = scratch()): Promise<Fleet> {
  const fleet = await Fleet.connect({ url: broker.url, folder });
  ends.push(() => fleet.close());
  return fleet;
}

async function gateway(id: string, played: Partial<Played> = {}): Promise<PlayedGateway> {
  const started = await PlayedGateway.start({ url: broker.url, id, ...played });
  ends.push(() => started.end());
  return started;
}

function child(id: string, status: Identity['status'] = 'enabled'): Identity {
  return { id, status, auth: { sas: { primaryKey: newSasKey(), secondaryKey: newSasKey() } }, modules: [] };
}

const ids = (children: readonly Identity[] | undefined) => (children ?? []).map(({ id }) => id).sort();

// Most of each is waiting: whether something is retained is known when nothing more comes.
describe('children of a fleet', { concurrency: true }, () => {
  test('children are added, changed and removed, each change a version that the gateway applies', async () => {
    const line = await gateway('line-1');
    const fleet = await operator();
    assert.equal(await fleet.children.get('line-1'), null);
    const added = await fleet.children.add('line-1', child('panel'));
    assert.deepEqual(added, { state: 'applied', version: 1, why: null, refused: [], unseen: [] });
    await assert.rejects(fleet.children.add('line-1', child('panel')), /there is a child panel already/);
    const module = { id: 'eye', auth: { x509: { ca: true } } } as const;
    assert.equal((await fleet.children.addModule('line-1', 'panel', module)).version, 2);
    const old = line.documents.at(-1)!.children[0]!.auth as { sas: { primaryKey: string } };
    const { auth, outcome } = await fleet.children.rotateKey('line-1', 'panel');
    assert.equal(outcome.version, 3);
    assert.ok('sas' in auth, 'keys');
    assert.equal(auth.sas.secondaryKey, old.sas.primaryKey);
    assert.deepEqual(line.documents.at(-1)!.children[0]!.auth, auth);
    await fleet.children.setStatus('line-1', 'panel', 'disabled');
    assert.equal(line.documents.at(-1)!.children[0]!.status, 'disabled');
    await fleet.children.remove('line-1', 'panel', 'eye');
    assert.deepEqual(line.documents.at(-1)!.children[0]!.modules, []);
    await fleet.children.remove('line-1', 'panel', null);
    assert.deepEqual(await fleet.children.get('line-1'), line.documents.at(-1));
    assert.deepEqual([line.documents.length, line.errors], [6, []]);
    await assert.rejects(fleet.children.remove('line-1', 'panel', null), /there is no child panel/);
  });

  test('of operators at work at once, nobody undoes what another did', async () => {
    const line = await gateway('line-2');
    const folder = scratch();
    const fleets = await Promise.all([1, 2, 3].map(() => operator(folder)));
    const names = fleets.flatMap((fleet, at) => ['a', 'b', 'c'].map((letter) => ({ fleet, id: `${letter}${at}` })));
    const results = await Promise.allSettled(
      fleets.map(async (fleet) => {
        for (const { id } of names.filter((each) => each.fleet === fleet))
          await fleet.children.add('line-2', child(id), { wait: false });
      }),
    );
    assert.deepEqual(
      results.filter(({ status }) => status === 'rejected'),
      [],
    );
    const found = await fleets[0]!.children.get('line-2');
    assert.deepEqual(ids(found?.children), names.map(({ id }) => id).sort());
    assert.ok(line.documents.length > 0, 'the gateway saw them');
  });

  test('a gateway whose key has changed is refused, with both kids, until it is said to be right', async () => {
    const line = await gateway('line-3');
    const fleet = await operator();
    await fleet.children.add('line-3', child('one'));
    const old = line.kid;
    await line.newKey();
    const said = new RegExp(`another key than before: ${line.kid}, it was ${old}.*--accept-new-key`);
    await assert.rejects(fleet.children.add('line-3', child('two')), said);
    assert.equal((await fleet.children.add('line-3', child('two'), { acceptNewKey: true })).state, 'applied');
    assert.equal((await fleet.children.add('line-3', child('three'))).state, 'applied');
  });

  test('a child that is enabled under another gateway is refused; documents that no key opens are named', async () => {
    await gateway('line-4');
    await gateway('line-5');
    await gateway('foreign');
    const fleet = await operator();
    await (await operator()).children.add('foreign', child('hidden'));
    await fleet.children.add('line-4', child('wanderer'));
    await assert.rejects(
      fleet.children.add('line-5', child('wanderer')),
      /wanderer is enabled under line-4: disable or remove/,
    );
    assert.equal((await fleet.children.add('line-5', child('wanderer', 'disabled'))).state, 'applied');
    await assert.rejects(fleet.children.setStatus('line-5', 'wanderer', 'enabled'), /enabled under line-4/);
    await fleet.children.setStatus('line-4', 'wanderer', 'disabled');
    const { state, unseen } = await fleet.children.setStatus('line-5', 'wanderer', 'enabled');
    assert.equal(state, 'applied');
    assert.ok(unseen.includes('foreign'), `unseen: ${unseen.join()}`);
  });

  test('a document of another operator is not overwritten, unless all of it is said anew, and opened by whose key was added', async () => {
    const line = await gateway('line-6');
    const [folder, otherFolder] = [scratch(), scratch()];
    const fleet = await operator(folder);
    const other = await operator(otherFolder);
    await fleet.children.add('line-6', child('mine'));
    await assert.rejects(other.children.add('line-6', child('theirs')), (error: Error) => {
      assert.match(
        error.message,
        /line-6 cannot be opened: it is encrypted to another key \(.*; your key is .*--replace/,
      );
      return true;
    });
    assert.equal(line.documents.length, 1);
    mkdirSync(join(folder, 'operators'));
    writeFileSync(join(folder, 'operators/other.jwk'), JSON.stringify(other.keys().operator));
    await fleet.children.setStatus('line-6', 'mine', 'disabled');
    assert.equal((await other.children.get('line-6'))?.version, 2);
    // The other does not encrypt to us.
    await other.children.add('line-6', child('theirs'));
    const replaced = await fleet.children.addAll('line-6', [child('anew')], { replace: true });
    assert.deepEqual([replaced.state, replaced.version], ['applied', 4]);
    assert.deepEqual(ids(line.documents.at(-1)?.children), ['anew']);
  });

  test('what the gateway does not take is told, the next version is above what it has, and who is away is waited for by nobody', async () => {
    const fleet = await operator();
    await gateway('line-7', { version: 41, clashes: ['taken'] });
    const taken = await fleet.children.add('line-7', child('taken'));
    assert.equal(taken.version, 42);
    assert.deepEqual(taken.refused, [{ id: 'taken', why: 'there is a child of that name already, added here' }]);

    const strict = await gateway('line-8', { trust: new OperatorFolder(scratch()).publicKeys().operator });
    const refused = await fleet.children.add('line-8', child('one'));
    assert.equal(refused.state, 'refused');
    assert.match(refused.why ?? '', /it is not signed/);
    assert.equal(strict.errors.length, 1);

    await gateway('line-9', { silent: true });
    assert.equal((await fleet.children.add('line-9', child('nine'), { waitSecs: 1 })).state, 'silent');
    const away = await gateway('line-10');
    await away.status('offline');
    await away.end();
    const offline = await fleet.children.add('line-10', child('ten'));
    assert.deepEqual([offline.state, offline.version], ['offline', 1]);
    await assert.rejects(
      fleet.children.add('nobody', child('x')),
      /nobody has no key at mqtt:.*holdfast\/v1\/nobody\/key/,
    );
    await assert.rejects(fleet.children.add('a/b', child('x')), /"a\/b" is no id/);
  });

  test('with a signing key documents are signed, and an unsigned one is only gone on from when that is said', async () => {
    const folder = scratch();
    const keys = new OperatorFolder(folder);
    const fleet = await operator(folder);
    await gateway('line-11');
    await fleet.children.add('line-11', child('before'));
    keys.makeSigningKey();
    assert.throws(() => keys.makeSigningKey(), /is there already/);
    await assert.rejects(fleet.children.add('line-11', child('after')), /is not signed by your signing key/);
    const strict = await gateway('line-12', { trust: fleet.keys().signing! });
    assert.equal((await fleet.children.add('line-12', child('after'))).state, 'applied');
    assert.deepEqual(strict.errors, []);
    assert.equal((await fleet.children.add('line-11', child('later'), { acceptUnsigned: true })).state, 'applied');
    assert.equal((await fleet.children.get('line-11'))?.children.length, 2);
  });

  test('keys are kept where nobody else may look, and a key that is damaged is not made anew', () => {
    const path = join(scratch(), 'fleet');
    const folder = new OperatorFolder(path);
    const { operator: key } = folder.publicKeys();
    assert.deepEqual(new OperatorFolder(path).publicKeys().operator, key);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(statSync(join(path, 'operator.jwk')).mode & 0o777, 0o600);
    copyFileSync(join(path, 'operator.jwk'), join(path, 'copy'));
    writeFileSync(join(path, 'operator.jwk'), '{}');
    assert.throws(() => folder.publicKeys(), /operator\.jwk: is not a private JWK/);
    assert.equal(readFileSync(join(path, 'operator.jwk'), 'utf8'), '{}');
  });
});
