import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { LogOutlet, WAITING_BYTES_MAX } from '../src/health/log-outlet.ts';
import { until } from './parts/until.ts';

test('a reader that stands still costs no more than a mebibyte; when it goes on, it is told what it was not given', async () => {
  const reader = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
  let read = '';
  reader.stdout.setEncoding('utf8').on('data', (text: string) => (read += text));
  const outlet = new LogOutlet(reader.stdin);
  const told: number[] = [];
  outlet.onReadAgain((leftOut) => told.push(leftOut));

  outlet.write('before\n');
  await until('it to read', () => read === 'before\n');
  reader.kill('SIGSTOP');
  const line = `${'x'.repeat(999)}\n`;
  for (let n = 0; n < 10_000; n++) outlet.write(line);
  assert.ok(
    reader.stdin.writableLength <= WAITING_BYTES_MAX + line.length,
    `${reader.stdin.writableLength} bytes wait`,
  );

  reader.kill('SIGCONT');
  await until('it to have caught up', () => told.length > 0);
  outlet.write('after\n');
  reader.stdin.end();
  await until('it to end', () => read.endsWith('after\n'));
  const given = read.split('\n').filter((each) => each.startsWith('x')).length;
  assert.deepEqual(told, [10_000 - given]);
});
