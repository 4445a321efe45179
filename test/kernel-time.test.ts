import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { NODE_FLAGS, runnable } from './parts/script.ts';

const KERNEL_TIME = runnable('src/clock/kernel-time');
const COMPILER = ['cc', 'gcc', 'g++'].find((name) => spawnSync(name, ['--version']).status === 0);
const skip =
  COMPILER === undefined
    ? 'SKIP: no C compiler here; apt-get install g++'
    : existsSync('/run/systemd/timesync/synchronized') &&
      'SKIP: systemd-timesyncd has synchronised this machine, so the kernel is not asked';

/**
 * Stands before the C library's adjtimex, answers as told and is compiled against <sys/timex.h>: where our offset of
 * `status` were wrong, it would read the filling, which says the opposite.
 */
const KERNEL = `
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
int adjtimex(struct timex *t) {
  if (t->modes != 0) abort();
  memset(t, atoi(getenv("FILLING")), sizeof *t);
  t->status = atoi(getenv("STATUS"));
  errno = EPERM;
  return atoi(getenv("STATE"));
}
`;

const folder = mkdtempSync(join(tmpdir(), 'holdfast-timex-'));
const library = join(folder, 'kernel.so');
after(() => rmSync(folder, { recursive: true }));
before(() => {
  if (COMPILER === undefined) return;
  writeFileSync(join(folder, 'kernel.c'), KERNEL);
  const compiled = spawnSync(COMPILER, ['-shared', '-fPIC', '-o', library, join(folder, 'kernel.c')], {
    encoding: 'utf8',
  });
  assert.equal(compiled.status, 0, compiled.stderr);
});

/** What `kernelTimeSynchronised` says in a process whose kernel answers adjtimex so. */
function synchronised(kernel: { state: number; status: number; filling: number }): string {
  const code = `import(${JSON.stringify(KERNEL_TIME)}).then((m) => console.log(m.kernelTimeSynchronised()))`;
  const child = spawnSync(process.execPath, [...NODE_FLAGS, '-e', code], {
    encoding: 'utf8',
    env: {
      ...process.env,
      LD_PRELOAD: library,
      STATE: String(kernel.state),
      STATUS: String(kernel.status),
      FILLING: String(kernel.filling),
    },
  });
  assert.equal(child.stderr, '');
  return child.stdout.trim();
}

const [TIME_OK, TIME_INS, TIME_ERROR, FAILED] = [0, 1, 5, -1];
const [PLL_NANO, UNSYNC_NANO] = [0x2001, 0x2040];

test('a disciplined kernel clock is synchronised, also on the day of a leap second', { skip }, () => {
  assert.equal(synchronised({ state: TIME_OK, status: PLL_NANO, filling: 0xff }), 'true');
  assert.equal(synchronised({ state: TIME_INS, status: PLL_NANO, filling: 0xff }), 'true');
});

test('a clock that nobody disciplines is not synchronised', { skip }, () => {
  assert.equal(synchronised({ state: TIME_ERROR, status: UNSYNC_NANO, filling: 0 }), 'false');
  assert.equal(synchronised({ state: TIME_OK, status: UNSYNC_NANO, filling: 0 }), 'false');
  assert.equal(synchronised({ state: TIME_ERROR, status: PLL_NANO, filling: 0 }), 'false');
});

test('a kernel that refuses to answer counts as not synchronised', { skip }, () => {
  assert.equal(synchronised({ state: FAILED, status: 0, filling: 0 }), 'false');
});
