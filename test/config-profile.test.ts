import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { defaultProfileDirs, gpioLine, listProfiles, readProfile, serialDevice } from '../src/config/profile.ts';

const root = path.join(import.meta.dirname, '..');
const shipped = path.join(root, 'device-profiles');
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-profile-'));
after(() => fs.rmSync(dir, { recursive: true }));

test('every profile that comes with the package is valid and bears the name of its file', () => {
  const profiles = listProfiles([shipped]);
  assert.ok(profiles.length >= 2);
  for (const { name, file } of profiles) assert.equal(readProfile(file).name, name);
});

test('the Raspberry Pi 4 has the lines of its header on the chip that has edges', () => {
  const profile = readProfile(path.join(shipped, 'raspberry-pi-4.yaml'));
  assert.equal(Object.keys(profile.gpio.lines).length, 28);
  for (let bcm = 2; bcm <= 27; bcm++) {
    assert.deepEqual(gpioLine(profile, `GPIO${bcm}`), { chip: 'pinctrl-bcm2711', offset: bcm });
  }
  assert.ok(profile.recognise.some((model) => 'Raspberry Pi 4 Model B Rev 1.4'.startsWith(model)));
  assert.deepEqual(profile.watchdog, { device: '/dev/watchdog0', maxSecs: 15 });
  assert.equal(profile.storage.medium, 'sd');
});

test('ports and lines are found by name or stand for themselves', () => {
  const profile = readProfile(path.join(root, 'test/fixtures/config/bench.yaml'));
  assert.equal(serialDevice(profile, 'rs485'), '/dev/ttyBENCH0');
  assert.equal(serialDevice(profile, '/dev/ttyUSB7'), '/dev/ttyUSB7');
  assert.equal(serialDevice(profile, 'toString'), undefined);
  assert.deepEqual(gpioLine(profile, 'GPIO17'), { chip: 'bench-gpio', offset: 3 });
  assert.deepEqual(gpioLine(profile, { chip: 'a', offset: 1 }), { chip: 'a', offset: 1 });
  assert.equal(gpioLine(profile, 'constructor'), undefined);
});

test('profiles are found upwards from the started script, also through a link to it', () => {
  fs.mkdirSync(path.join(dir, 'lib/dist'), { recursive: true });
  fs.mkdirSync(path.join(dir, 'lib/device-profiles'));
  fs.mkdirSync(path.join(dir, 'bin'));
  fs.writeFileSync(path.join(dir, 'lib/dist/holdfast.cjs'), '');
  fs.symlinkSync('../lib/dist/holdfast.cjs', path.join(dir, 'bin/holdfast'));
  const real = path.join(fs.realpathSync(dir), 'lib/device-profiles');
  const system = '/usr/share/holdfast/device-profiles';
  assert.deepEqual(defaultProfileDirs(path.join(dir, 'bin/holdfast'), ''), [real, system]);
  assert.deepEqual(defaultProfileDirs(path.join(dir, 'lib/dist/holdfast.cjs'), '/a:/b:'), ['/a', '/b', real, system]);
  assert.deepEqual(defaultProfileDirs(path.join(dir, 'no/such.cjs'), ''), [system]);
  assert.equal(defaultProfileDirs(undefined, '')[0], shipped);
});

test('of two profiles with one name the one in the first folder counts', () => {
  fs.mkdirSync(path.join(dir, 'own'));
  fs.writeFileSync(path.join(dir, 'own/simulated.yaml'), '');
  fs.writeFileSync(path.join(dir, 'own/notes.txt'), '');
  const found = listProfiles([
    path.join(dir, 'own'),
    path.join(dir, 'nowhere'),
    path.join(dir, 'own/notes.txt'),
    shipped,
  ]);
  assert.equal(found.find(({ name }) => name === 'simulated')?.file, path.join(dir, 'own/simulated.yaml'));
  assert.equal(found.filter(({ name }) => name === 'simulated').length, 1);
});
