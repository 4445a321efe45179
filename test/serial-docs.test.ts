import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../src/config/load.ts';
import { streamDecoder } from '../src/drivers/decoders/stream.ts';
import { systemClock } from './driver-rig.ts';
import { scratch } from './parts/scratch.ts';

test('every example in docs/serial.md loads, and the particle sensor is read', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/serial.md'), 'utf8');
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
  assert.ok(examples.length >= 4, `${examples.length} examples`);
  const read: string[] = [];
  const file = join(scratch(), 'gateway.yaml');
  for (const example of examples) {
    writeFileSync(file, `gateway: { id: line-4, profile: raspberry-pi-4 }\n${example}`);
    const { children } = loadConfig(file).config;
    assert.ok(children.length > 0, example);
    const decoder = children[0]!.serial!.decoder;
    if (children[0]!.id !== 'dust' || decoder.kind === 'modbus') continue;
    streamDecoder(decoder, systemClock, {
      reading: ({ body }) => void read.push(body.toString()),
      malformed: (why) => assert.fail(why),
    }).push(Buffer.from('424d001c00050008000900050008000903840102003200080003000197000236', 'hex'));
  }
  assert.deepEqual(read, ['{"pm1":5,"pm2_5":8,"pm10":9}']);
});
