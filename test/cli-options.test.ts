import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdfast } from './parts/command.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../docs/cli.md'), 'utf8');
/** Commands that have others under them. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  profile: ['detect', 'list', 'show'],
  rules: ['check', 'test', 'explain'],
};

test('the commands that take no --config by cli.md take none', async () => {
  const line = /^- `-c, --config FILE` .*$/m.exec(PAGE)![0];
  const named = [...line.slice(line.indexOf('All but')).matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
  assert.ok(named.length > 0, line);
  const commands = named.flatMap((name) => GROUPS[name]?.map((each) => `${name} ${each}`) ?? [name]);
  for (const command of commands) {
    const { code, stdout } = await holdfast([...command.split(' '), '--help']);
    assert.equal(code, 0, command);
    assert.doesNotMatch(stdout, /^ +-c, --config/m, command);
  }
});
