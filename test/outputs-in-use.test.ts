import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { RunMarker } from '../src/board/run-marker.ts';
import { startGateway } from './parts/gateway-process.ts';
import { scratch } from './parts/scratch.ts';

/*
 * How the gateway knows, at its start, that outputs were not put into their safe state: what the driver makes of it is tested
 * with the supervisor, and in the virtual machine (test/hil) on real outputs.
 */

test('a gateway that was killed leaves the mark of outputs in use, and one that is stopped does not', async () => {
  const dir = scratch();
  const line = '{ chip: no-such-chip, offset: 1 }';
  const yaml = (safe: string): string =>
    `gateway: { id: g, dataDir: data }\nchildren: [{ id: pump, gpio: { line: ${line}, direction: out${safe} } }]\n`;
  const mark = join(dir, 'data/outputs-in-use');
  const killed = await startGateway({ dir, yaml: yaml(', safe: 0') });
  assert.ok(existsSync(mark), 'while it runs');
  await killed.kill();
  assert.ok(existsSync(mark), 'after a kill');
  const stopped = await startGateway({ dir, yaml: yaml(', safe: 0') });
  assert.equal(await stopped.stop(), 0);
  assert.ok(!existsSync(mark), 'after a stop');
  // Nobody's card is written for what nobody asked for.
  const without = await startGateway({ dir, yaml: yaml('') });
  assert.ok(!existsSync(mark), 'without a safe state');
  await without.stop();
});

test('what did not end is told at the next beginning, and a mark that cannot be made counts as one that was left', () => {
  const path = join(scratch(), 'deep/mark');
  const marker = new RunMarker(path);
  assert.equal(marker.begin(), false);
  assert.equal(new RunMarker(path).begin(), true);
  marker.end();
  assert.equal(new RunMarker(path).begin(), false);
  marker.end();
  marker.end();
  const file = join(scratch(), 'file');
  writeFileSync(file, '');
  assert.equal(new RunMarker(join(file, 'mark')).begin(), true);
});
