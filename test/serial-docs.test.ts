import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../src/config/load.ts';
import { scratch } from './parts/scratch.ts';

test('every example in docs/serial.md loads', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/serial.md'), 'utf8');
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
  assert.ok(examples.length >= 4, `${examples.length} examples`);
  const file = join(scratch(), 'gateway.yaml');
  for (const example of examples) {
    writeFileSync(file, `gateway: { id: line-4, profile: raspberry-pi-4 }\n${example}`);
    assert.ok(loadConfig(file).config.children.length > 0, example);
  }
});
