import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { thisMachine } from '../src/board/recognition.ts';
import { PROGRAM } from './parts/gateway-process.ts';

const holdfast = (...args: string[]) => spawnSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8' });
const json = (...args: string[]): unknown =>
  JSON.parse(execFileSync(process.execPath, [PROGRAM, ...args, '--json'], { encoding: 'utf8' }));

test('profile list names all, show tells what a board has, and a name that is nearly right is helped', () => {
  const listed = json('profile', 'list') as { name: string; thisBoard: boolean }[];
  assert.deepEqual(
    listed.map(({ name }) => name),
    [
      'beaglebone-black',
      'compute-module-4',
      'raspberry-pi-3b',
      'raspberry-pi-4',
      'raspberry-pi-5',
      'raspberry-pi-zero-2-w',
      'simulated',
      'x86',
    ],
  );
  assert.ok(listed.filter(({ thisBoard }) => thisBoard).length <= 1);
  const shown = holdfast('profile', 'show', 'beaglebone-black');
  assert.equal(shown.status, 0);
  assert.match(shown.stdout, /^P9_12 +4804c000\.gpio +28$/m);
  assert.match(shown.stdout, /^WATCHDOG +\/dev\/watchdog0, at most 86400 s$/m);
  assert.match(shown.stdout, /^emmc: commits each 500 ms, write when-needed$/m);
  const pi = json('profile', 'show', 'raspberry-pi-5') as { gpio: { lines: Record<string, unknown> } };
  assert.deepEqual(pi.gpio.lines['GPIO17'], { chip: 'pinctrl-rp1', offset: 17 });
  const wrong = holdfast('profile', 'show', 'raspberry-pi4');
  assert.deepEqual(
    [wrong.status, wrong.stderr],
    [2, 'holdfast: there is no profile "raspberry-pi4"; did you mean "raspberry-pi-4"?\n'],
  );
});

test('profile detect says what this machine is, and by what it was told', () => {
  const detected = json('profile', 'detect') as { profile: string | null; machine: unknown };
  assert.deepEqual(detected.machine, thisMachine());
  if (thisMachine().processor === 'x64') assert.notEqual(detected.profile, null);
});
