import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test, type TestContext } from 'node:test';

const UNIT = 'systemd/holdfast.service';
/** On systemd's scale of 0 (locked in) to 10 (unsafe); how a service with its own devices and the network can stand. */
const EXPOSURE_MAX = 2.5;

const skip =
  spawnSync('systemd-analyze', ['--version']).status !== 0 &&
  'SKIP: no systemd-analyze here, so the unit was not looked at; apt-get install systemd';

/** The unit as `systemd-analyze verify` can judge it before we are installed: the program must exist. */
function unit(t: TestContext, change = (text: string): string => text, path = UNIT): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-unit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, basename(path));
  const text = readFileSync(path, 'utf8').replace('ExecStart=/usr/bin/holdfast ', `ExecStart=${process.execPath} `);
  assert.ok(text.includes(`ExecStart=${process.execPath} `), 'ExecStart no longer begins with /usr/bin/holdfast');
  writeFileSync(file, change(text));
  return file;
}

function verify(file: string): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
  return { status, output: (stdout + stderr).trim() };
}

test('systemd-analyze verify has nothing to say about the unit', { skip }, (t) => {
  assert.deepEqual(verify(unit(t)), { status: 0, output: '' });
});

test('nor about the one that sets a machine up', { skip }, (t) => {
  const file = unit(t, (text) => text, 'systemd/holdfast-provision.service');
  assert.deepEqual(verify(file), { status: 0, output: '' });
});

test('the check would notice: a misspelt key makes systemd-analyze verify speak', { skip }, (t) => {
  const { output } = verify(unit(t, (text) => text.replace('WatchdogSec=', 'WatchdogSecs=')));
  assert.match(output, /Unknown key .*WatchdogSecs/);
});

test(`the unit's exposure is at most ${EXPOSURE_MAX} of 10`, { skip }, (t) => {
  const { stdout, stderr } = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', unit(t)], {
    encoding: 'utf8',
  });
  const exposure = Number(
    /Overall exposure level for holdfast\.service: ([\d.]+)/.exec(stdout)?.[1] ?? assert.fail(stderr),
  );
  t.diagnostic(`exposure ${exposure} of 10, at most ${EXPOSURE_MAX}`);
  assert.ok(exposure <= EXPOSURE_MAX, stdout);
});

test('the unit never waits for the network or for the time, and never gives up', () => {
  const lines = readFileSync(UNIT, 'utf8').split('\n');
  const settings = lines.filter((line) => !line.startsWith('#'));
  assert.deepEqual(
    settings.filter((line) => /network-online|time-sync/.test(line)),
    [],
  );
  const wanted = ['Type=notify', 'NotifyAccess=main', 'Restart=always', 'StartLimitIntervalSec=0', 'WatchdogSec=30'];
  const handed = ['LoadCredential=secrets:/etc/holdfast/secrets', 'StateDirectory=holdfast'];
  for (const line of [...wanted, ...handed, 'ExecReload=/bin/kill -HUP $MAINPID']) {
    assert.ok(settings.includes(line), `the unit lacks ${line}`);
  }
});

test('what the gateway waits for when the machine starts ends by itself', () => {
  const card = 'image/root/etc/systemd/system';
  for (const file of [
    'systemd/holdfast-provision.service',
    ...['first-boot', 'data'].map((name) => `${card}/holdfast-${name}.service`),
  ]) {
    // systemd.service(5): Type=oneshot has no limit unless one is named.
    const text = readFileSync(file, 'utf8');
    assert.match(text, /^Type=oneshot$/m);
    assert.match(text, /^TimeoutStartSec=\d+min$/m, file);
  }
});
