import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Exchanged } from '../../src/message/exchange.ts';
import { holdfast } from './command.ts';
import { scratch } from './scratch.ts';
import { noise, SpoolRig } from './spool-rig.ts';

/** Bodies that are hard to say in JSON or in a table. */
export const ODD = [
  Buffer.from('plain'),
  Buffer.from('"quoted", and\r\nmore'),
  Buffer.from('{"a":1}'),
  Buffer.from('{"a": 1.0}'),
  Buffer.from([0, 255, 254]),
  Buffer.from('{"base64":"AAAA"}'),
  Buffer.alloc(0),
];

export interface Stopped {
  readonly config: string;
  readonly dataDir: string;
  /** What `spool export` says of it. */
  readonly waiting: Exchanged[];
}

/** A stopped gateway with 300 messages and more that wait, of which some are settled, and one dead letter. */
export async function stopped(): Promise<Stopped> {
  const dir = scratch();
  const config = join(dir, 'gateway.yaml');
  writeFileSync(config, 'gateway: { id: line-4, dataDir: data }\nstoreAndForward: { quota: 64MiB, keepFree: 0% }\n');
  const rig = await SpoolRig.open({ dataDir: join(dir, 'data') });
  // Somebody takes messages: small blocks stay as they are.
  rig.spool.next();
  for (const body of ODD) {
    const message = { ...rig.message(body, 4), source: { child: 'odd', module: 'm', output: 'o' }, contentType: 'a/b' };
    const properties = { 'a "b"': 'c, d', plain: 'x' };
    void rig.spool.accept({ ...message, properties, eventTime: 1234.5, expiresAfterSecs: 60 }, false);
  }
  for (let n = 0; n < 300; n++) {
    void rig.accept(noise(300), n % 3 === 0 ? 0 : 10, false);
    if (n < 100 ? n % 2 === 1 : n % 30 === 29) await rig.spool.flush();
  }
  await rig.spool.flush();
  const [letter, ...taken] = rig.take(5);
  rig.spool.deadLetter(letter!, 'refused');
  for (const each of taken) rig.spool.delivered(each, true);
  await rig.spool.flush();
  await rig.audit();
  rig.spool.rewind();
  await rig.close();
  const { code, stdout, stderr } = await holdfast(['spool', 'export', '-c', config]);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '302 messages exported\n');
  return { config, dataDir: rig.dataDir, waiting: lines(stdout) };
}

/** Messages as they were exported. */
export function lines(text: string): Exchanged[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Exchanged);
}
