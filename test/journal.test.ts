import assert from 'node:assert/strict';
import { test } from 'node:test';
import { journalLine } from '../src/cli/journal.ts';

test('an entry of the journal is a line of the log again, with its level, time and child', () => {
  // As journalctl of systemd 252 gives it, shortened.
  const entry = {
    __REALTIME_TIMESTAMP: '1764115200123456',
    PRIORITY: '4',
    _SYSTEMD_UNIT: 'holdfast.service',
    MESSAGE: '[meter] waiting: the port does not exist',
  };
  assert.deepEqual(journalLine(JSON.stringify(entry)), {
    time: 1764115200123,
    level: 'warn',
    child: 'meter',
    message: 'waiting: the port does not exist',
    fields: {},
  });
  const bytes = [...Buffer.from('caf\u00e9')];
  assert.equal(journalLine(JSON.stringify({ ...entry, MESSAGE: bytes, PRIORITY: '6' }))?.message, 'caf\u00e9');
  assert.equal(journalLine(JSON.stringify({ ...entry, MESSAGE: null })), null);
  assert.equal(journalLine('-- No entries --'), null);
});
