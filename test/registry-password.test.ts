import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { credentialName } from '../src/registry/identity.ts';
import { hashPassword, isPasswordHash, Passwords } from '../src/registry/password.ts';
import type { ManualClock } from './manual-clock.ts';
import { decided, presentedBy, RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const secret = Buffer.from('correct horse');
const hash = await hashPassword(secret);

const plain = (id: string, password: Buffer | string | undefined, address = '192.0.2.9') =>
  presentedBy(id, {
    clientId: `mosq-${id}`,
    username: id,
    password: typeof password === 'string' ? Buffer.from(password) : password,
    address,
  });

async function rigWithPump(): Promise<RegistryRig> {
  const rig = new RegistryRig(scratch());
  rig.children = '{ id: pump, connected: {}, grants: [ { invoke: press-1 }, { send: lamp }, { observe: "#" } ] }';
  await rig.open();
  await rig.enrolment.registry.add({ id: 'pump', status: 'enabled', auth: { password: hash }, modules: [] });
  return rig;
}

describe('a hash', () => {
  test('of scrypt with sensible parameters is one; RFC 7914 has the numbers', async () => {
    // RFC 7914, section 12: P = "pleaseletmein", S = "SodiumChloride", N 16384, r 8, p 1.
    const hex =
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887';
    const salt = Buffer.from('SodiumChloride').toString('base64');
    const known = `scrypt$16384$8$1$${salt}$${Buffer.from(hex, 'hex').toString('base64')}`;
    const passwords = new Passwords(() => 0);
    assert.equal(await passwords.matches(Buffer.from('pleaseletmein'), known), true);
    assert.equal(await passwords.matches(Buffer.from('pleaseletmeim'), known), false);
    const wrong = [
      '',
      'plain',
      'scrypt$16384$8$1$$',
      'scrypt$16383$8$1$c2FsdHNhbHQ$',
      hash.replace('16384', '1048576'),
      hash.replace('$8$', '$0$'),
    ];
    for (const each of wrong) assert.equal(isPasswordHash(each), false, each);
    assert.ok(isPasswordHash(hash));
  });
});

test('a plain child comes in with its name and password, with what the configuration grants it, and not with another one', async () => {
  const rig = await rigWithPump();
  const keeper = rig.enrolment.gatekeeper();
  const admission = await keeper.admit(plain('pump', secret));
  assert.ok('client' in admission);
  assert.deepEqual(admission.client, {
    child: 'pump',
    module: null,
    dialect: 'holdfast',
    grants: { invoke: ['press-1'], send: ['lamp'], observe: ['#'] },
    gateway: false,
    expiresAt: null,
    credential: credentialName(hash),
  });
  assert.match(await decided(rig, plain('pump', 'wrong'), keeper), /^not authorised: the password is wrong/);
  assert.match(await decided(rig, plain('pump', undefined), keeper), /^not authorised: there is no password/);
  assert.match(await decided(rig, plain('pump', hash), keeper), /^not authorised: the password is wrong/);
  assert.match(await decided(rig, plain('lamp', secret), keeper), /^not authorised: there is no such child/);
  assert.ok(!rig.log.join('').includes('horse') && !rig.log.join('').includes(hash));
  await rig.close();
});

test('a right password is not reckoned again for a while: coming back is cheap; a changed or removed one is forgotten', async () => {
  let now = 0;
  const passwords = new Passwords(() => now);
  assert.equal(passwords.knows(secret, hash), false);
  assert.equal(await passwords.matches(secret, hash), true);
  assert.equal(passwords.knows(secret, hash), true);
  assert.equal(passwords.knows(Buffer.from('correct horsf'), hash), false);
  assert.equal(passwords.knows(secret, await hashPassword(secret)), false, 'another hash of it is another password');
  now = 600_001;
  assert.equal(passwords.knows(secret, hash), false);

  const rig = await rigWithPump();
  const keeper = rig.enrolment.gatekeeper();
  assert.equal(await decided(rig, plain('pump', secret), keeper), 'in');
  await rig.enrolment.registry.setStatus('pump', 'disabled');
  assert.match(await decided(rig, plain('pump', secret), keeper), /disabled/);
  await rig.enrolment.registry.setStatus('pump', 'enabled');
  assert.equal(await decided(rig, plain('pump', secret), keeper), 'in');
  await rig.close();
});

test('a child that is disabled while its password is being reckoned stays out', async () => {
  const rig = await rigWithPump();
  const answer = rig.enrolment.gatekeeper().admit(plain('pump', secret));
  await rig.enrolment.registry.setStatus('pump', 'disabled');
  assert.deepEqual(await answer, { refused: 'not authorised', why: 'the child is disabled', said: true });
  await rig.close();
});

test('only so many passwords wait to be reckoned; those beyond are told to come back', async () => {
  const passwords = new Passwords(() => 0);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, index) => passwords.matches(Buffer.from(`guess ${index}`), hash)),
  );
  assert.equal(answers.filter((answer) => answer === null).length, 8);
  assert.equal(answers.filter((answer) => answer === false).length, 32);
});

describe('guessing', () => {
  test('tells nobody which ids there are: neither by the answer, nor by whether a password was reckoned', async (t) => {
    const rig = await rigWithPump();
    const { registry } = rig.enrolment;
    const [primaryKey, modules] = ['A'.repeat(44), [{ id: 'eye', auth: { password: hash } }]];
    await registry.add({ id: 'panel', status: 'enabled', auth: { sas: { primaryKey } }, modules: [] });
    await registry.add({ id: 'off', status: 'disabled', auth: { password: hash }, modules: [] });
    await registry.add({ id: 'cam', status: 'enabled', auth: { password: hash }, modules });
    const reckoned = t.mock.method(Passwords.prototype, 'matches');
    let addresses = 0;
    const tried = async (id: string, password: Buffer | string, address = `2001:db8::${addresses++}`) => {
      reckoned.mock.resetCalls();
      const answer = await rig.enrolment.gatekeeper().admit(plain(id, password, address));
      return `${'refused' in answer && answer.refused} after ${reckoned.mock.callCount()}`;
    };
    for (const id of ['pump', 'panel', 'off', 'nobody', 'press-1', 'cam'])
      assert.equal(await tried(id, 'guess'), 'not authorised after 1', id);
    for (const id of ['cam/eye', 'cam/ear', 'panel/eye', 'nobody/eye'])
      assert.equal(await tried(id, 'guess'), 'not authorised after 2', id);
    // What can be no password costs nobody anything.
    const token = rig.token('pump', primaryKey);
    for (const id of ['pump', 'panel', 'nobody', 'cam/eye'])
      for (const none of [token, Buffer.alloc(2000, 1)])
        assert.equal(await tried(id, none), 'not authorised after 0', id);
    await rig.close();
  });

  test('is rationed alike for ids that there are and others', async () => {
    for (const id of ['pump', 'nobody']) {
      const rig = await rigWithPump();
      const keeper = rig.enrolment.gatekeeper();
      const guess = () => keeper.admit(plain(id, 'guess'));
      const heard: unknown[] = [await guess(), await guess(), await guess()];
      const before = rig.clock.timers;
      const fourth = guess();
      await until('it to be held back', () => rig.clock.timers > before);
      await rig.clock.flow(100);
      heard.push(await fourth, await guess());
      const refusals = heard.map((answer) => (answer as { refused: string }).refused);
      assert.deepEqual(refusals, [...Array<string>(4).fill('not authorised'), 'unavailable'], id);
      await rig.close();
    }
  });

  test('from one address is rationed to one a second; the child itself, from elsewhere, is not held up', async () => {
    const rig = await rigWithPump();
    const keeper = rig.enrolment.gatekeeper();
    const bad = '198.51.100.7';
    const answers: string[] = [];
    for (let number = 0; number < 8; number++) {
      // Less than a second passes while each refusal is held back.
      const answer = await settled(() => keeper.admit(plain('pump', `guess ${number}`, bad)), rig.clock);
      answers.push('refused' in answer ? answer.refused : 'in');
    }
    assert.deepEqual(answers.slice(0, 3), ['not authorised', 'not authorised', 'not authorised']);
    assert.ok(answers.slice(3).includes('unavailable'), answers.join());
    assert.equal(await decided(rig, plain('pump', secret, '192.0.2.1'), keeper), 'in');
    // And from the same address too, once a second has passed.
    await rig.clock.flow(1001);
    assert.equal(await decided(rig, plain('pump', secret, bad), keeper), 'in');
    await rig.close();
  });

  test('a refusal is held back longer each time, up to 2 s; a right answer never is; the log has a line a minute', async () => {
    const rig = await rigWithPump();
    const keeper = rig.enrolment.gatekeeper();
    const bad = presentedBy('nobody', { password: rig.token('nobody', 'AAAA') });
    const held: number[] = [];
    for (let number = 0; number < 10; number++) {
      const before = rig.clock.monotonic();
      const answer = await settled(() => keeper.admit(bad), rig.clock);
      held.push(rig.clock.monotonic() - before);
      assert.ok('refused' in answer);
    }
    assert.deepEqual(held, [0, 0, 0, 100, 200, 400, 800, 1600, 2000, 2000]);
    assert.equal(await decided(rig, plain('pump', secret), keeper), 'in');
    const lines = () => rig.log.filter((line) => line.includes('not let in'));
    assert.equal(lines().length, 1);
    assert.match(lines()[0]!, /"address":"192\.0\.2\.9","who":"nobody","msg":"not let in: there is no such child/);
    await rig.clock.flow(60_000);
    assert.equal(lines().length, 2);
    assert.match(lines()[1]!, /not let in: 9 more in the last minute/);
    await rig.clock.flow(120_000);
    assert.equal(lines().length, 2);
    await rig.close();
  });

  test('from very many addresses pushes the older ones out: what is remembered is bounded', async () => {
    const rig = await rigWithPump();
    const keeper = rig.enrolment.gatekeeper();
    const heldFor = async (address: string, who: string): Promise<number> => {
      const before = rig.clock.monotonic();
      await decided(rig, presentedBy(who, { address }), keeper);
      return rig.clock.monotonic() - before;
    };
    for (let number = 0; number < 5; number++) await heldFor('198.51.100.7', `first${number}`);
    assert.ok((await heldFor('198.51.100.7', 'again')) > 0);
    for (let number = 0; number < 1000; number++) assert.equal(await heldFor(`2001:db8::${number}`, `x${number}`), 0);
    assert.equal(await heldFor('198.51.100.7', 'later'), 0);
    await rig.close();
  });
});

/** Lets time pass in steps of 100 ms until there is an answer to what `ask` asks. */
async function settled<T>(ask: () => Promise<T>, clock: ManualClock): Promise<T> {
  const { timers } = clock;
  const answer = ask();
  let done = false;
  void answer.then(() => (done = true));
  await until('an answer', async () => {
    await clock.flow(0);
    // The clock stands still while a password is reckoned, and moves when the refusal is held back.
    if (!done && clock.timers > timers) await clock.flow(100);
    return done;
  });
  return answer;
}
