import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMMAND_BODY_BYTES_MAX, commandMessage } from '../src/commands/command-message.ts';
import { Commands, PAYLOAD_BYTES_MAX } from '../src/commands/commands.ts';
import { ManualClock } from './manual-clock.ts';

describe('a command', () => {
  const clock = new ManualClock();
  const commands = new Commands(clock);
  const asked: unknown[] = [];
  commands.register('wired', {
    command: (name, payload) => Promise.resolve({ status: 200, payload: [name, payload] }),
  });
  commands.register('broken', { command: () => Promise.reject(new Error('no port')) });

  test('for nobody is the gateway’s 404, until connected children are sought, too', async () => {
    const nobody = { status: 404, payload: { error: 'there is no child "panel"' }, failed: true };
    assert.deepEqual(await commands.invoke('panel', 'go', 1), nobody);
    commands.seekAmong({
      method: (...all) => {
        asked.push(all);
        return Promise.resolve({ status: 201, payload: 'done' });
      },
    });
    assert.deepEqual(await commands.invoke('panel', 'go', 1, 9, 'id-1'), { status: 201, payload: 'done' });
    assert.deepEqual(await commands.invoke('panel/m', 'go', null), { status: 201, payload: 'done' });
    assert.deepEqual(asked, [
      ['panel', null, 'go', 1, 9, 'id-1'],
      ['panel', 'm', 'go', null, 30, undefined],
    ]);
  });

  test('for a wired child goes to its driver all the same', async () => {
    assert.deepEqual(await commands.invoke('wired', 'go', 2), { status: 200, payload: ['go', 2] });
    const broken = { status: 500, payload: { error: 'no port' }, failed: true };
    assert.deepEqual(await commands.invoke('broken', 'go', 2), broken);
  });

  test('with a payload of more than 128 KB is not given to anybody', async () => {
    const fits = 'x'.repeat(PAYLOAD_BYTES_MAX - 2);
    assert.equal((await commands.invoke('wired', 'go', fits)).status, 200);
    assert.equal((await commands.invoke('wired', 'go', `${fits}x`)).status, 413);
    assert.equal((await commands.invoke('wired', 'go', undefined)).status, 200);
  });
});

describe('a message to be queued for a child', () => {
  const clock = new ManualClock();
  const content = (properties: Record<string, string> = {}, bytes = 1) => ({ body: Buffer.alloc(bytes), properties });
  const inSecs = (secs: number) => new Date(clock.wall() + secs * 1000).toISOString();
  const CASES: readonly (readonly [what: string, properties: Record<string, string>, found: unknown, life?: number])[] =
    [
      ['waits an hour when it does not say', {}, 3600],
      ['waits as long as its sender says otherwise', {}, 60, 60],
      ['waits until it expires', { 'absolute-expiry-time': inSecs(90) }, 90],
      ['waits two days at most', { 'absolute-expiry-time': inSecs(9e6) }, 172_800],
      ['is refused when it has expired', { 'absolute-expiry-time': inSecs(0) }, 'it has expired'],
      ['is refused when its expiry is no time', { 'absolute-expiry-time': 'soon' }, 'its expiry is no time'],
      [
        'is refused when its ack is none',
        { ack: 'maybe' },
        'ack is "maybe", not one of none, positive, negative, full',
      ],
    ];
  for (const [what, properties, expected, life] of CASES) {
    test(what, () => {
      const found = commandMessage(content(properties), clock, life);
      assert.equal('refused' in found ? found.refused : found.expiresAfterSecs, expected);
    });
  }

  test('keeps what it came with', () => {
    const came = { ...content({ ack: 'full', k: 'v' }), contentType: 'text/plain' };
    assert.deepEqual(commandMessage(came, clock), { ...came, ack: 'full', expiresAfterSecs: 3600 });
  });

  test('is not judged by a clock that is not known', () => {
    const unknown = new ManualClock({ known: false });
    const found = commandMessage(content({ 'absolute-expiry-time': '2000-01-01T00:00:00Z' }), unknown);
    assert.equal('expiresAfterSecs' in found && found.expiresAfterSecs, 3600);
  });

  test('has at most 64 KB', () => {
    assert.equal('refused' in commandMessage(content({}, COMMAND_BODY_BYTES_MAX), clock), false);
    assert.equal('refused' in commandMessage(content({}, COMMAND_BODY_BYTES_MAX + 1), clock), true);
  });
});
