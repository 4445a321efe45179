import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../src/config/load.ts';
import { streamDecoder } from '../src/drivers/decoders/stream.ts';
import { systemClock } from './driver-rig.ts';
import { scratch } from './parts/scratch.ts';

/** What the children of docs/serial.md are sent, by their ids, and what must come of it. */
const HEARD: Readonly<Record<string, readonly [sent: Buffer, body: string]>> = {
  dust: [
    Buffer.from('424d001c00050008000900050008000903840102003200080003000197000236', 'hex'),
    '{"pm1":5,"pm2_5":8,"pm10":9}',
  ],
  weather: [
    Buffer.from('serialNo;temperature;rain;state\n412;21.50;00.2;ok\n'),
    '{"serialNo":"412","temperature":21.5,"rain":0.2,"state":"ok"}',
  ],
  scale: [Buffer.from('412E5 +00123.4 kg\r\n'), '{"article":"412E5","weight":123.4,"state":null}'],
};

test('every example in docs/serial.md loads, and its sensors are read', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/serial.md'), 'utf8');
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
  assert.ok(examples.length >= 4, `${examples.length} examples`);
  const read: [string, string][] = [];
  const file = join(scratch(), 'gateway.yaml');
  for (const example of examples) {
    writeFileSync(file, `gateway: { id: line-4, profile: raspberry-pi-4 }\n${example}`);
    const { children } = loadConfig(file).config;
    assert.ok(children.length > 0, example);
    for (const { id, serial } of children) {
      const sent = HEARD[id]?.[0];
      if (sent === undefined || serial === undefined || serial.decoder.kind === 'modbus') continue;
      streamDecoder(serial.decoder, systemClock, {
        reading: ({ body }) => void read.push([id, body.toString()]),
        malformed: (why) => assert.fail(why),
      }).push(sent);
    }
  }
  assert.deepEqual(
    Object.fromEntries(read),
    Object.fromEntries(Object.entries(HEARD).map(([id, [, body]]) => [id, body])),
  );
  assert.equal(read.length, Object.keys(HEARD).length);
});
