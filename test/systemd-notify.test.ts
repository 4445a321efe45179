import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { startGateway } from './parts/gateway-process.ts';
import { script } from './parts/script.ts';
import { gatewayYaml } from './parts/supervised-gateway.ts';

const PYTHON = ['/usr/bin/python3', 'python3'].find((name) => spawnSync(name, ['--version']).status === 0);
const skip = PYTHON === undefined && 'SKIP: no python3 here to play systemd; apt-get install python3';

/** systemd's end: takes datagrams, and has the kernel say which process sent each, as NotifyAccess=main does. */
const RECEIVER = `
import json, socket, struct, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind('\\0' + name[1:] if name.startswith('@') else name)
print('null', flush=True)
while True:
    data, ancillary, _, _ = s.recvmsg(4096, 256)
    pid = struct.unpack('3i', ancillary[0][2][:12])[0]
    print(json.dumps({'pid': pid, 'text': data.decode()}), flush=True)
`;

/** Starts a systemd that listens on `name`; the function it gives waits for the next datagram. */
async function systemd(t: TestContext, name: string): Promise<() => Promise<unknown>> {
  const receiver = spawn(PYTHON ?? '', ['-c', RECEIVER, name], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => receiver.kill());
  const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse(String((await lines.next()).value));
  assert.equal(await next(), null);
  return next;
}

interface Seen {
  readonly notifier: boolean;
  readonly watchdogIntervalMs: number | null;
  readonly environment: string[];
  readonly koffi: boolean;
  readonly log: string[][];
}

/** Runs systemd-notify-child.ts as systemd would start it. */
function child(env: Record<string, string>, calls: string[][] = []): { pid: number; seen: Seen } {
  const { pid, stdout, stderr } = spawnSync(
    process.execPath,
    [...script('test/systemd-notify-child'), JSON.stringify(calls)],
    { encoding: 'utf8', env: { ...process.env, ...env } },
  );
  assert.equal(stderr, '');
  return { pid, seen: JSON.parse(stdout) as Seen };
}

function socketPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-notify-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'notify');
}

for (const kind of ['a path', 'an abstract name']) {
  test(`systemd hears each message, one datagram each, from our own pid, on ${kind}`, { skip }, async (t) => {
    const NOTIFY_SOCKET = kind === 'a path' ? socketPath(t) : `@holdfast-test-${process.pid}`;
    const hear = await systemd(t, NOTIFY_SOCKET);
    const { pid, seen } = child({ NOTIFY_SOCKET }, [
      ['starting'],
      ['starting'],
      ['ready', '3 children'],
      ['status', 'draining,\n 12 to go'],
      ['watchdog'],
      ['stopping'],
      ['ready'],
    ]);
    for (const text of [
      'EXTEND_TIMEOUT_USEC=300000000',
      'READY=1\nSTATUS=3 children',
      'STATUS=draining, 12 to go',
      'WATCHDOG=1',
      'STOPPING=1',
      'READY=1',
    ]) {
      assert.deepEqual(await hear(), { pid, text });
    }
    assert.deepEqual(seen.log, []);
  });
}

test('the watchdog is fed at half its time, and only by the process that it watches', (t) => {
  const NOTIFY_SOCKET = socketPath(t);
  const interval = (env: Record<string, string>): unknown => child({ NOTIFY_SOCKET, ...env }).seen.watchdogIntervalMs;
  assert.equal(interval({}), null);
  assert.equal(interval({ WATCHDOG_USEC: '30000000' }), 15_000);
  assert.equal(interval({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: 'self' }), 15_000);
  assert.equal(interval({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }), null);
  assert.equal(interval({ WATCHDOG_USEC: 'soon' }), null);
});

test("systemd's variables are taken out of the environment, so that children do not speak in our name", (t) => {
  const { seen } = child({ NOTIFY_SOCKET: socketPath(t), WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' });
  assert.equal(seen.notifier, true);
  assert.deepEqual(seen.environment, []);
});

test('without $NOTIFY_SOCKET there is nobody to notify, and koffi costs nothing', (t) => {
  const { seen } = child({ NOTIFY_SOCKET: '' });
  assert.deepEqual(
    { notifier: seen.notifier, koffi: seen.koffi, log: seen.log },
    { notifier: false, koffi: false, log: [] },
  );
  assert.equal(child({ NOTIFY_SOCKET: socketPath(t) }).seen.koffi, true, 'the control: with it koffi is loaded');
});

test('a socket that cannot be meant is an error in the log, not a crash', () => {
  const refused = (name: string, why: string): void => {
    const { seen } = child({ NOTIFY_SOCKET: name }, [['ready']]);
    assert.equal(seen.notifier, false);
    assert.deepEqual(seen.log, [['error', why, 'systemd waits for our word on $NOTIFY_SOCKET, and we cannot give it']]);
  };
  refused('vsock:2:1234', 'neither an absolute path nor an abstract name');
  refused(`/${'x'.repeat(107)}`, "longer than the 107 bytes of a socket's name");
});

test('a systemd that does not listen is mentioned in the log once, not at each message', (t) => {
  const { seen } = child({ NOTIFY_SOCKET: socketPath(t) }, [['ready'], ['watchdog'], ['watchdog']]);
  assert.deepEqual(seen.log, [['warn', 'ENOENT', 'systemd did not take our word']]);
});

test(
  'a start that looks through a large spool, or carries a damaged one over, has systemd wait for it',
  { skip },
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-notify-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const dataDir = join(dir, 'data');
    const yaml = gatewayYaml({ dataDir });
    const first = await startGateway({ dir, yaml });
    const hear = await systemd(t, join(dir, 'notify'));
    const firstWords = async () => {
      const gateway = await startGateway({ dir, yaml, env: { NOTIFY_SOCKET: join(dir, 'notify') } });
      const words = new Set<string>();
      // One each 10 s before it is ready, so more of them on a slow machine.
      while (![...words].some((word) => word.startsWith('READY'))) words.add(((await hear()) as { text: string }).text);
      return { gateway, words: [...words] };
    };
    const expected = ['EXTEND_TIMEOUT_USEC=300000000', 'READY=1\nSTATUS=running'];
    await first.kill();
    const second = await firstWords();
    assert.deepEqual(second.words, expected);
    await second.gateway.kill();
    const file = openSync(join(dataDir, 'spool/data.mdb'), 'r+');
    // Behind both meta pages.
    writeSync(file, Buffer.alloc(512 * 1024, 0xa5), 0, 512 * 1024, 8192);
    closeSync(file);
    const third = await firstWords();
    assert.match(third.gateway.messages().join('\n'), /set aside; what can be read of it goes on in a fresh spool/);
    assert.deepEqual(third.words, expected);
    await third.gateway.kill();
  },
);
