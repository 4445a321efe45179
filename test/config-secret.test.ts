import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { resolveSecret, SECRET_BYTES_MAX } from '../src/config/secret.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-secret-'));
after(() => fs.rmSync(dir, { recursive: true }));
const config = path.join(dir, 'etc');
const credentials = path.join(dir, 'credentials');
fs.mkdirSync(config);
fs.mkdirSync(credentials);

function put(folder: string, name: string, content: string | Buffer, mode = 0o600): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content);
  fs.chmodSync(file, mode);
  return file;
}

test('the credentials directory comes before the folder of the configuration', () => {
  put(config, 'pw', 'beside');
  assert.equal(resolveSecret('pw', config, credentials).value, 'beside');
  const file = put(credentials, 'pw', 'credential');
  assert.deepEqual(resolveSecret('pw', config, credentials), { value: 'credential', file, warnings: [] });
  assert.equal(resolveSecret('./pw', config, credentials).value, 'beside');
  assert.equal(resolveSecret(file, config, undefined).value, 'credential');
});

test('one newline at the end is not part of the secret, all else is', () => {
  for (const [content, value] of [
    ['a\n', 'a'],
    ['a\r\n', 'a'],
    ['a\n\n', 'a\n'],
    [' a ', ' a '],
    ['é', 'é'],
  ] as const) {
    put(config, 'line', content);
    assert.equal(resolveSecret('line', config).value, value);
  }
});

test('a secret that everybody may read is used with a warning', () => {
  const file = put(config, 'open', 'hunter2', 0o644);
  assert.deepEqual(resolveSecret('open', config).warnings, [
    `${file}: can be read by every user of this machine; run: chmod o-r ${file}`,
  ]);
});

test('what cannot be used is refused without a word of what it holds', () => {
  const refused = (name: string, message: string): void =>
    assert.throws(() => resolveSecret(name, config, credentials), { message });
  refused(
    'none',
    `secret "none" is in none of: ${credentials}/none, ${credentials}/secrets_none, ${config}/none, ${config}/secrets/none`,
  );
  refused('a/none', `secret "a/none" is in none of: ${config}/a/none`);
  refused('./', `${config}: is not a file`);
  refused('empty', `${put(config, 'empty', '\n')}: is empty`);
  refused('latin1', `${put(config, 'latin1', Buffer.from('hunter\xe9', 'latin1'))}: is not UTF-8 text`);
  const large = put(config, 'large', 'x'.repeat(SECRET_BYTES_MAX + 1));
  refused('large', `${large}: has more than 65536 bytes, too many for a secret`);
});
