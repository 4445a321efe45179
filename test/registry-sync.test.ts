import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Registrar } from '../src/above/registrar.ts';
import { JwkError, type PublicJwk } from '../src/registry/jwk.ts';
import type { WrittenDocument } from '../src/registry/document.ts';
import { newSasKey } from '../src/registry/registry.ts';
import { carryOut } from '../src/registry/desk.ts';
import { ManualClock } from './manual-clock.ts';
import { fc } from './parts/properties.ts';
import { decided, presentedBy, RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { documentOf, fleet, gateway, operator, sasChild, sealed, stranger } from './parts/sealed-documents.ts';

const RUNS = process.env['HOLDFAST_TEST_LONG'] === '1' ? 20_000 : 500;

const CHANGES = ['set', 'flip', 'cut', 'insert', 'end', 'twice'] as const;

/** A registry on a real state environment, and who takes documents for it. */
class SyncRig extends RegistryRig {
  trust: () => PublicJwk | null = () => null;
  registrar!: Registrar;

  override async open(): Promise<this> {
    await super.open();
    const { clock, logger: log } = this;
    const key = { ...gateway, kid: gateway.public.kid };
    this.registrar = new Registrar({ registry: this.enrolment.registry, key, trust: () => this.trust(), clock, log });
    return this;
  }

  /** Takes a document as an operator would send it, and says what is wrong with it. */
  async receive(document: WrittenDocument, by: Parameters<typeof sealed>[1] = {}): Promise<string | null> {
    await this.registrar.receive(await sealed(document, by));
    return this.registrar.report()?.error ?? null;
  }

  /** All that is kept of the registry, as it stands on the medium when it is opened anew. */
  kept(): string {
    const { store } = this.enrolment;
    return JSON.stringify(store.names('').map((name) => [name, store.get(name)?.toString()]));
  }

  ids(): string[] {
    return this.enrolment.registry.all().map(({ id, origin }) => `${id} ${origin}`);
  }
}

const rigged = (clock?: ManualClock) => new SyncRig(scratch(), clock).open();

describe('a registry document', () => {
  test('replaces the children from upstream, in one step, and is there after a restart', async () => {
    const rig = await rigged();
    const [a, b] = [sasChild('a'), sasChild('b')];
    assert.equal(rig.registrar.report(), null);
    assert.equal(await rig.receive(documentOf(1, [a, b])), null);
    assert.deepEqual(rig.ids(), ['a upstream', 'b upstream']);
    const receivedAt = rig.clock.wall();
    assert.equal(await rig.receive(documentOf(2, [b, sasChild('c')])), null);
    await rig.again();
    assert.deepEqual(rig.ids(), ['b upstream', 'c upstream']);
    assert.deepEqual(rig.registrar.report(), {
      version: 2,
      issuedAt: '2026-01-01T00:00:00.000Z',
      receivedAt: new Date(receivedAt).toISOString(),
      signed: false,
      children: 2,
      refused: [],
      error: null,
    });
    const token = (key: string) => presentedBy('b', { password: rig.token('b', key) });
    assert.equal(await decided(rig, token(b.auth.sas.primaryKey)), 'in');
    const list = (await carryOut({ do: 'list' }, rig.enrolment)) as { id: string; origin: string }[];
    assert.deepEqual(
      list.map(({ id, origin }) => `${id} ${origin}`),
      ['b upstream', 'c upstream'],
    );
    await assert.rejects(carryOut({ do: 'remove', child: 'b' }, rig.enrolment), /comes from upstream: change it there/);
    await rig.close();
  });

  test('that is older, or another of the same version, changes nothing; the same one once more is silent', async () => {
    const rig = await rigged();
    const five = documentOf(5, [sasChild('a'), sasChild('b')]);
    await rig.receive(five);
    const before = rig.kept();
    const said = rig.log.length;
    assert.equal(await rig.receive({ ...five, children: five.children.toReversed() }), null);
    assert.deepEqual([rig.kept(), rig.log.length], [before, said]);
    assert.match((await rig.receive(documentOf(4, [])))!, /^it is version 4, older than version 5/);
    assert.match((await rig.receive(documentOf(5, [sasChild('a')])))!, /^it says something else than the version 5/);
    assert.equal(rig.kept(), before);
    await rig.again();
    assert.match((await rig.receive(documentOf(4, [])))!, /^it is version 4, older than version 5/);
    assert.deepEqual([rig.kept(), rig.ids()], [before, ['a upstream', 'b upstream']]);
    const report = rig.registrar.report();
    assert.deepEqual([report?.version, report?.children], [5, 2], 'the last good one stays');
    assert.equal(await rig.receive(documentOf(6, [])), null);
    assert.deepEqual(rig.ids(), []);
    await rig.close();
  });

  test('with ids that are taken here is taken without these, which are named; they come in when the id is free', async () => {
    const rig = await rigged();
    await rig.enrolment.registry.add({ id: 'mine', status: 'enabled', auth: { x509: { ca: true } }, modules: [] });
    const document = documentOf(1, [sasChild('mine'), sasChild('press-1'), sasChild('line-4'), sasChild('new')]);
    assert.equal(await rig.receive(document), null);
    assert.deepEqual(rig.ids(), ['mine local', 'new upstream']);
    assert.deepEqual(
      rig.registrar.report()?.refused.map(({ id }) => id),
      ['mine', 'press-1', 'line-4'],
    );
    assert.equal(rig.log.filter((line) => line.includes('not taken from upstream: ')).length, 3);
    await rig.enrolment.registry.remove('mine', null);
    assert.equal(await rig.receive(document), null);
    assert.deepEqual(rig.ids(), ['mine upstream', 'new upstream']);
    await rig.close();
  });

  test('of 10,000 children, or with too many beside those that are here, is refused whole', async () => {
    const rig = await rigged();
    await rig.receive(documentOf(1, [sasChild('a')]));
    const many = (count: number) =>
      Array.from({ length: count }, (_, n) => ({ id: `c-${n}`, auth: { x509: { ca: true } } as const }));
    // Not made by our tools, which refuse it, too.
    await assert.rejects(sealed(documentOf(2, many(10_000))), /10000 children; at most 1000/);
    await rig.enrolment.registry.add({ id: 'mine', status: 'enabled', auth: { x509: { ca: true } }, modules: [] });
    assert.match((await rig.receive(documentOf(2, many(1000))))!, /there would be 1001; at most 1000/);
    assert.deepEqual(rig.ids(), ['a upstream', 'mine local']);
    assert.equal(await rig.receive(documentOf(2, many(999))), null);
    assert.equal(rig.ids().length, 1000);
    await rig.close();
  });

  test('of no children makes refusals real; before any, children are told to ask again', async () => {
    const rig = await rigged();
    const somebody = presentedBy('a', { password: rig.token('a', newSasKey()) });
    assert.match(await decided(rig, somebody), /^unavailable: /);
    assert.equal(await rig.receive(documentOf(1, [])), null);
    assert.match(await decided(rig, somebody), /^not authorised: there is no such child/);
    await rig.again();
    assert.match(await decided(rig, somebody), /^not authorised: there is no such child/);
    await rig.close();
  });

  test('taken while the time is not known says so', async () => {
    const rig = await rigged(new ManualClock({ known: false }));
    await rig.receive(documentOf(1, []));
    assert.equal(rig.registrar.report()?.receivedAt, null);
    await rig.close();
  });
});

describe('the registrar', () => {
  test('tells an error once, keeps the last good document, and forgets the error with the next good one', async () => {
    const rig = await rigged();
    const bad = Buffer.from('nothing');
    await rig.registrar.receive(bad);
    assert.deepEqual(rig.registrar.report(), {
      version: null,
      issuedAt: null,
      receivedAt: null,
      signed: null,
      children: null,
      refused: [],
      error: 'it is not a JWE, compact or general JSON',
    });
    await rig.registrar.receive(bad);
    assert.equal(rig.log.filter((line) => line.includes('was not taken')).length, 1);
    assert.equal(await rig.receive(documentOf(1, [sasChild('a')])), null);
    await rig.registrar.receive(Buffer.alloc(10_000_000));
    assert.match(rig.registrar.report()!.error!, /^it has 10000000 bytes/);
    await rig.registrar.receive(Buffer.alloc(0));
    assert.ok(rig.log.at(-1)!.includes('the children stay as they are'));
    assert.deepEqual(rig.ids(), ['a upstream']);
    assert.equal(rig.registrar.report()?.version, 1);
    await rig.close();
  });

  test('of documents that come faster than they can be taken, the last one counts', async () => {
    const rig = await rigged();
    const all = await Promise.all(
      [1, 2, 3, 4].map((version) => sealed(documentOf(version, [sasChild(`v${version}`)]))),
    );
    await Promise.all(all.map((body) => rig.registrar.receive(body)));
    assert.deepEqual([rig.ids(), rig.registrar.report()?.error], [['v4 upstream'], null]);
    await rig.close();
  });

  test('with trust takes what is signed only, also over one of a higher version that was not', async () => {
    const rig = await rigged();
    await rig.receive(documentOf(2 ** 53 - 1, [sasChild('intruder')]));
    rig.trust = () => fleet.public;
    assert.match((await rig.receive(documentOf(7, [])))!, /is not signed/);
    assert.match((await rig.receive(documentOf(7, []), { by: stranger.private }))!, /signed by another key/);
    assert.equal(await rig.receive(documentOf(7, [sasChild('a')]), { by: fleet.private }), null);
    assert.deepEqual([rig.ids(), rig.registrar.report()?.signed], [['a upstream'], true]);
    assert.match((await rig.receive(documentOf(6, []), { by: fleet.private }))!, /older than version 7/);
    rig.trust = () => {
      throw new JwkError('/etc/holdfast/fleet.pub.jwk: cannot be read (ENOENT)');
    };
    assert.match((await rig.receive(documentOf(8, []), { by: fleet.private }))!, /cannot be read/);
    assert.deepEqual(rig.ids(), ['a upstream']);
    await rig.close();
  });

  test('what cannot be kept is not in force after all, is said, and is taken when it can be', async () => {
    const rig = await rigged();
    await rig.receive(documentOf(1, [sasChild('a'), sasChild('b')]));
    const { state } = rig;
    const put = state.putBytes.bind(state);
    state.putBytes = () => Promise.reject(new Error('the medium takes nothing'));
    const next = documentOf(2, [sasChild('b'), sasChild('c')]);
    await assert.rejects(rig.receive(next), /the medium takes nothing/, 'it should come again');
    assert.match(rig.registrar.report()!.error!, /^it cannot be kept: the medium takes nothing/);
    assert.deepEqual(rig.ids(), ['b upstream'], 'who loses something has lost it, who gains something has not');
    assert.equal(rig.registrar.report()?.version, 1);
    state.putBytes = put;
    assert.equal(await rig.receive(next), null);
    await rig.again();
    assert.deepEqual([rig.ids(), rig.registrar.report()?.version], [['b upstream', 'c upstream'], 2]);
    await rig.close();
  });

  test('a document that was changed on the way, whatever is changed, changes nothing or is the one that was sent', async () => {
    const rig = await rigged();
    rig.trust = () => fleet.public;
    let version = 1;
    await rig.receive(documentOf(version, [sasChild('c-1')]), { by: fleet.private });
    const change = fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom(...CHANGES));
    const property = fc.asyncProperty(
      fc.boolean(),
      fc.array(change, { minLength: 1, maxLength: 4 }),
      async (one, changes) => {
        const before = rig.kept();
        const next = documentOf(version + 1, [sasChild(`c-${version + 1}`)]);
        const to = one ? [gateway.public] : [gateway.public, operator.public];
        const sent = await sealed(next, { to, by: fleet.private });
        const came = changes.reduce(changed, sent);
        await rig.registrar.receive(came);
        if (rig.registrar.report()?.version === version) {
          assert.equal(rig.kept(), before);
          return;
        }
        // Spaces, or the operator's copy of the key: nothing of ours was changed.
        const intact = came.toString('latin1').trim() === sent.toString('latin1');
        assert.ok(!one || intact, 'a compact document has one spelling');
        version++;
        assert.equal(rig.registrar.report()?.version, version);
        assert.deepEqual(rig.ids(), [`c-${version} upstream`]);
        assert.deepEqual(rig.enrolment.registry.find(`c-${version}`)?.auth, next.children[0]!.auth);
      },
    );
    await fc.assert(property, { numRuns: RUNS });
    await rig.close();
  });
});

/** Bytes with one change somewhere. */
function changed(bytes: Buffer, [where, value, how]: [number, number, (typeof CHANGES)[number]]): Buffer {
  const at = where % Math.max(1, bytes.length);
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (how) {
    case 'set':
      return Buffer.concat([head, Buffer.of(value), tail.subarray(1)]);
    case 'flip':
      return Buffer.concat([head, Buffer.of((tail[0] ?? 0) ^ (1 << (value % 8))), tail.subarray(1)]);
    case 'cut':
      return Buffer.concat([head, tail.subarray(1)]);
    case 'insert':
      return Buffer.concat([head, Buffer.of(value), tail]);
    case 'end':
      return head;
    case 'twice':
      return Buffer.concat([bytes, tail]);
  }
}
