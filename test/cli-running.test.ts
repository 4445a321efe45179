import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { holdfast, RunningCommand } from './parts/command.ts';
import { PROGRAM, startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

let broker: Mosquitto;
let gateway: GatewayProcess;
const dir = scratch();

const yaml = (url: string) => `
gateway: { id: line-4, dataDir: data }
upstream: { url: "${url}", reconnect: { minSecs: 0.1, maxSecs: 0.5 } }
storeAndForward: { quota: 16MiB, keepFree: 0%, commitEveryMs: 20 }
children:
  - id: press-1
    simulated: { sendIntervalMs: 50, messageCount: -1 }
  - id: meter
    serial: { port: ${dir}/not-plugged-in, decoder: json }
`;

/** A command line about the gateway that runs. */
const ask = (...args: string[]) => holdfast([...args, '--config', gateway.config]);

async function askJson<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await ask(...args, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as T;
}

before(async () => {
  broker = await startMosquitto();
  gateway = await startGateway({ dir, yaml: yaml(broker.url) });
  await gateway.waitForLog(/connected to/);
});

after(async () => {
  await gateway.kill();
  await broker.end();
});

describe('list', () => {
  test('shows each child with its state, when it last gave a reading, and what went wrong', async () => {
    // The machine may stand still between a reading and the look at it.
    const stdout = await until('a reading of this second', async () => {
      const shown = await ask('list');
      assert.deepEqual([shown.code, shown.stderr], [0, '']);
      return /^press-1 +simulated +running +0 s ago +\d+ +0 +0$/m.test(shown.stdout) && shown.stdout;
    });
    const [head, press, meter] = stdout.split('\n');
    assert.match(head!, /^ID +KIND +STATE +LAST READING +READINGS +MALFORMED +RESTARTS +LAST ERROR$/);
    assert.match(press!, /^press-1 /);
    // It waits for up to a minute, the longer the more often it has been tried.
    assert.match(
      meter!,
      /^meter +serial +(waiting \(again in \d+ s\)|starting) +never +0 +0 +\d+ +.*not-plugged-in does not exist/,
    );
  });

  test('as JSON has times that a program can read', async () => {
    const [press, meter] = await askJson<Record<string, unknown>[]>('list');
    assert.equal(press!['type'], 'child');
    assert.equal(press!['state'], 'running');
    assert.match(String(press!['lastReadingAt']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(meter!['lastReadingAt'], null);
  });
});

describe('status', () => {
  test('says how everything is doing', async () => {
    // The device's count comes late where its first writes do.
    await until('writes to be counted', async () => /^wear {6}[\d.]+ [MGT]iB/m.test((await ask('status')).stdout));
    const { code, stdout } = await ask('status');
    assert.equal(code, 0);
    assert.match(stdout, /^gateway {3}line-4, Holdfast \d+\.\d+\.\d+ on simulated, process \d+, up /m);
    assert.match(stdout, /^upstream {2}online at mqtt:\/\/127\.0\.0\.1:\d+ \(MQTT 5\) since /m);
    assert.match(stdout, /^spool {5}[\d.]+ MiB of 16\.0 MiB, [\d.]+ KiB of it in use(; being filled, \d+ % done)?$/m);
    assert.match(
      stdout,
      /^wear {6}[\d.]+ [MGT]iB a day to the medium, [\d.]+ bytes for each byte of message \((estim|meas)/m,
    );
    assert.match(stdout, /^ledger {4}\d+ accepted = \d+ delivered \+ \d+ pending \+ 0 dead letters \+ 0 dropped$/m);
    assert.match(stdout, /^children {2}1 of 2 running, failing: meter$|^children {2}1 of 2 running$/m);
  });

  test('as JSON names the process, and every time as text', async () => {
    const status = await askJson<{ pid: number; upstream: { state: string; since: string } }>('status');
    assert.equal(status.pid, gateway.process.pid);
    assert.equal(status.upstream.state, 'online');
    assert.ok(Date.parse(status.upstream.since) > 0);
  });
});

describe('logs', () => {
  test('come from the memory of the gateway, whole or the last lines', async () => {
    const last = await ask('logs', '--tail', '1');
    assert.equal(last.stdout.trim().split('\n').length, 1);
    const all = await ask('logs');
    assert.match(all.stdout, /^\S+Z INFO +Holdfast \d.*\n[^]*INFO +running\n/);
    assert.ok(all.stdout.includes(last.stdout));
  });

  test('of one child are only its own; as JSON one text a line', async () => {
    const { stdout } = await ask('logs', 'meter', '--json');
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.ok(lines.length > 0);
    assert.deepEqual([...new Set(lines.map(({ child }) => child))], ['meter']);
    assert.match(String(lines[0]!['time']), /Z$/);
  });

  test('of a child that does not exist: says so, and which was meant', async () => {
    const { code, stderr } = await ask('logs', 'pres-1');
    assert.equal(code, 1);
    assert.equal(stderr, 'holdfast: there is no child "pres-1"; did you mean "press-1"?\n');
  });

  test('that are followed show a line when it is written, and Ctrl-C ends them with 0', async () => {
    const following = new RunningCommand(['logs', '--follow', '--tail', '0', 'press-1', '-c', gateway.config]);
    // What was before is not shown, so nothing tells that it listens but a new line: asked for until one comes.
    await until('a new line', async () => {
      await ask('restart', 'press-1');
      return following.stdout.includes('[press-1] running');
    });
    following.process.kill('SIGINT');
    const { code, stderr } = await following.ended;
    assert.equal(code, 0);
    assert.equal(stderr, '');
  });

  test('that are followed end with the gateway, and say why', async () => {
    const other = scratch();
    const second = await startGateway({ dir: other, yaml: `gateway: { id: other, dataDir: ${other}/data }` });
    const following = new RunningCommand(['logs', '-f', '-c', second.config]);
    await following.said(/running/);
    await second.stop();
    const { code, stderr } = await following.ended;
    assert.equal(code, 1);
    assert.equal(stderr, 'holdfast: the gateway stopped\n');
  });

  test('piped into a reader that has enough end quietly', async () => {
    const command = `"${process.execPath}" "${PROGRAM}" logs -f -c "${gateway.config}" | head -n 1`;
    const shell = spawn('bash', ['-c', `set -o pipefail; ${command}`], { stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    shell.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
    shell.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    const ended = new Promise<number | null>((resolve) => shell.once('close', resolve));
    // It hears that nobody reads at its next line.
    await until('the first line', () => stdout !== '');
    await until('its end', async () => {
      await ask('restart', 'press-1');
      return shell.exitCode !== null;
    });
    assert.equal(await ended, 0);
    assert.equal(stdout.split('\n').length, 2);
    assert.equal(stderr, '');
  });
});

describe('restart', () => {
  test("of a child starts its driver anew, and nobody else's", async () => {
    const restarts = async () => (await askJson<{ restarts: number }[]>('list')).map((child) => child.restarts);
    const [before_ = 0] = await restarts();
    const { code, stderr } = await ask('restart', 'press-1');
    assert.equal(code, 0);
    assert.equal(stderr, 'restarted: press-1\n');
    assert.equal((await restarts())[0], before_ + 1);
  });

  test('of everything, without systemd: restarts every driver, and says why not more', async () => {
    const { code, stdout, stderr } = await ask('restart', '--json');
    assert.equal(code, 0);
    assert.match(stderr, /^this gateway was not started by systemd, .*\nrestarted: press-1, meter\n$/);
    assert.deepEqual(JSON.parse(stdout), { restarted: 'children', children: ['press-1', 'meter'] });
    assert.equal(gateway.ended, null);
  });

  test('of everything, under systemd: the process stops so that it is started again, and the command waits for it', async () => {
    const own = scratch();
    const first = await startGateway({ dir: own, yaml: `gateway: { id: other, dataDir: ${own}/data }` });
    const { config } = first;
    await first.stop();
    // What systemd does (systemd.exec(5)): names the process that it starts, and starts the next when that has failed.
    const unit = `for i in 1 2; do bash -c 'SYSTEMD_EXEC_PID=$$ exec "$0" "$@"' "${process.execPath}" "${PROGRAM}" run -c "${config}"; echo "exit $?"; done`;
    const systemd = spawn('bash', ['-c', unit], { stdio: ['ignore', 'pipe', 'ignore'] });
    let said = '';
    systemd.stdout.on('data', (text: Buffer) => (said += text.toString()));
    await until('the gateway', () => / INFO +running/.test(said));
    const { code, stdout, stderr } = await holdfast(['restart', '--json', '-c', config]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^process \d+ stops; systemd starts it again\nprocess \d+ runs, \d+ s later\n$/);
    const { restarted, pid, pidBefore } = JSON.parse(stdout) as { restarted: string; pid: number; pidBefore: number };
    assert.equal(restarted, 'gateway');
    assert.notEqual(pid, pidBefore);
    await until('the end of the first', () => /exit 75/.test(said));
    const ended = new Promise((resolve) => systemd.once('close', resolve));
    process.kill(pid, 'SIGTERM');
    await ended;
    assert.match(said, /exit 0/);
  });
});

describe('spool', () => {
  test('stats, peek and verify are answered by the running gateway', async () => {
    const stats = await askJson<{ epoch: number; ledger: Record<string, number>; wear: { bytesPerDay: number } }>(
      'spool',
      'stats',
    );
    assert.equal(stats.epoch, 1);
    assert.ok(stats.wear.bytesPerDay > 0, 'only the running gateway knows of wear');
    const { accepted, delivered, pending, deadLetters } = stats.ledger;
    assert.equal(accepted, delivered! + pending! + deadLetters!);
    assert.match((await ask('spool', 'stats')).stdout, /^epoch {3}1\nledger {2}\d+ accepted = /);
    assert.deepEqual(await askJson('spool', 'peek', '--lane', '3'), []);
    const verified = await ask('spool', 'verify');
    assert.match(verified.stdout, /^sound: \d+ blocks, /);
    assert.equal(verified.code, 0);
  });

  test('peek shows what waits while the broker is away', async () => {
    await broker.stop();
    try {
      const waiting = await until('messages to wait', async () => {
        const found = await askJson<{ seq: number; child: string; body: { machine: object } }[]>(
          'spool',
          'peek',
          '-n',
          '2',
        );
        return found.length === 2 ? found : null;
      });
      assert.equal(waiting[1]!.seq, waiting[0]!.seq + 1);
      assert.equal(waiting[0]!.child, 'press-1');
      assert.ok('temperature' in waiting[0]!.body.machine);
      const { stdout } = await ask('spool', 'peek', '-n', '1');
      assert.match(stdout, /^\S+Z {2}lane 10 {2}epoch 1 {2}seq \d+ {2}press-1 {2}\{"machine":/);
      await until('an attempt to be refused', async () =>
        /^upstream {2}(waiting|connecting) for mqtt:.*ECONNREFUSED/m.test((await ask('status')).stdout),
      );
    } finally {
      await broker.start();
    }
    await until('it to be back', async () => {
      const { upstream } = await askJson<{ upstream: { state: string } }>('status');
      return upstream.state === 'online';
    });
  });
});

describe('method invoke', () => {
  test('shows the answer, and its status by the exit code', async () => {
    const done = await ask('method', 'invoke', 'press-1', 'reset', '--json');
    assert.equal(done.code, 0);
    assert.deepEqual(JSON.parse(done.stdout), { status: 200, payload: { temperature: 21 } });
    const unknown = await ask('method', 'invoke', 'press-1', 'fly');
    assert.equal(unknown.code, 1);
    assert.equal(unknown.stderr, 'status 404\n');
    assert.match(unknown.stdout, /no command 'fly'; it has reset/);
  });

  test('of nobody is 404', async () => {
    const { code, stdout } = await ask('method', 'invoke', 'nobody', 'reset', '--json', '--payload', '{"a":1}');
    assert.equal(code, 1);
    assert.deepEqual(JSON.parse(stdout), { status: 404, payload: { error: 'there is no child "nobody"' } });
  });
});

describe('a slip in the configuration since the start', () => {
  test('does not hide the gateway that runs', async () => {
    const slipped = join(dirname(gateway.config), 'slipped.yaml');
    writeFileSync(slipped, `${readFileSync(gateway.config, 'utf8')}\nbogus: 1\n`);
    const shown = await holdfast(['list', '-c', slipped]);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /^press-1 /m);
    assert.match(shown.stderr, /bogus[^]*\nthe gateway that runs has an earlier one, and is asked\n$/);
    assert.equal((await holdfast(['restart', 'press-1', '-c', slipped])).code, 0);
    // It would not come back with that.
    const whole = await holdfast(['restart', '-c', slipped]);
    assert.equal(whole.code, 1);
    assert.match(whole.stderr, /^holdfast: the configuration cannot be used:/);
  });
});

describe('check', () => {
  test('finds what is wrong, says what to do, and does not disturb the gateway', async () => {
    const before_ = await askJson<{ upstream: { attempts: number; state: string } }>('status');
    const { code, stdout, stderr } = await ask('check');
    assert.equal(code, 1);
    assert.match(stdout, /^OK {4}gateway +process \d+ runs, for \d+ s now$/m);
    assert.match(stdout, /^OK {4}spool +\d+ messages wait, and the books are even$/m);
    assert.match(stdout, /^OK {4}storage +it can; \d+ (M|G)iB a day to the medium( by estimate)?$/m);
    assert.match(stdout, /^FAIL {2}serial:meter +\S+not-plugged-in is not there\n +-> plug it in/m);
    assert.match(stdout, /^OK {4}upstream-mqtt +it speaks MQTT 5 and takes us$/m);
    assert.match(stdout, /^WARN {2}registry +no registry document was taken yet; any document that decrypts is taken/m);
    // How long until the spool is full is not judged in the gateway's first minute.
    assert.match(stderr, /^22 checks: \d+ OK, \d WARN, 1 FAIL, [01] SKIP\n$/);
    const after_ = await askJson<{ upstream: { attempts: number; state: string } }>('status');
    assert.equal(after_.upstream.state, 'online');
    assert.equal(after_.upstream.attempts, before_.upstream.attempts);
  });

  test('as JSON; only some, or without some', async () => {
    const only = await ask('check', '--json', '--only', 'node,serial');
    assert.equal(only.code, 1);
    const { checks, ok } = JSON.parse(only.stdout) as { checks: Record<string, unknown>[]; ok: boolean };
    assert.equal(ok, false);
    assert.deepEqual(
      checks.map(({ id }) => id),
      ['serial:meter', 'node'],
    );
    assert.deepEqual(Object.keys(checks[0]!), ['id', 'result', 'message', 'fix']);
    for (const none of [
      ['--only', 'upstream-mqtt', '--skip', 'upstream-mqtt'],
      ['--only', 'serial', '--skip', 'serial:meter'],
    ]) {
      const { code, stdout, stderr } = await ask('check', ...none);
      assert.deepEqual([code, stdout], [2, '']);
      assert.equal(stderr, 'holdfast: --only and --skip leave no check to look at\n');
    }
    // No child at a line: nothing to look at is what was to be found.
    assert.equal((await ask('check', '--only', 'gpio')).code, 0);
    const without = await ask('check', '--json', '--skip', 'serial', '--skip', 'clock');
    assert.equal(without.code, 0);
    assert.equal((JSON.parse(without.stdout) as { ok: boolean }).ok, true);
  });

  test('warnings end with 0, or with 1 when asked to', async () => {
    const config = join(scratch(), 'gateway.yaml');
    writeFileSync(config, 'gateway: { id: line-4, dataDir: data }\n');
    const args = ['check', '--only', 'config-warnings', '-c', config];
    assert.equal((await holdfast(args)).code, 0);
    assert.equal((await holdfast([...args, '--warnings-as-errors'])).code, 1);
  });

  test('lists what it looks at', async () => {
    const { code, stdout } = await ask('check', '--list');
    assert.equal(code, 0);
    const ids = stdout
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(' ')[0]);
    assert.deepEqual(ids, [
      'config',
      'config-warnings',
      'secrets',
      'board',
      'limits',
      'data-dir',
      'disk-space',
      'spool',
      'storage',
      'time-to-full',
      'gateway',
      'serial:meter',
      'upstream-dns',
      'upstream-proxy',
      'upstream-tcp',
      'upstream-tls',
      'upstream-websocket',
      'upstream-mqtt',
      'upstream-keepalive',
      'registry',
      'clock',
      'node',
    ]);
  });

  test('has colours on a terminal, unless NO_COLOR is set, and never in a pipe', () => {
    const onTerminal = (env: Record<string, string>) => {
      const spawned = 'import pty, sys; pty.spawn(sys.argv[1:])';
      const args = ['-c', spawned, process.execPath, PROGRAM, 'check', '--only', 'node', '-c', gateway.config];
      // Node takes a machine that runs CI for one without colours.
      const { NO_COLOR: _, CI: __, ...rest } = process.env;
      const found = spawnSync('python3', args, { env: { ...rest, TERM: 'xterm', ...env }, encoding: 'utf8' });
      return found.stdout;
    };
    assert.ok(onTerminal({}).startsWith('\u001b[32mOK'));
    assert.match(onTerminal({ NO_COLOR: '1' }), /^OK/);
  });
});

describe('the gateway', () => {
  test('refuses a second one on the same data, which ends with one line', async () => {
    const { code, stderr } = await ask('run');
    assert.equal(code, 1);
    assert.match(stderr, /^holdfast: another gateway is running here: it answers on .*holdfast\.sock\n$/);
  });

  test('survives a tool that asks for what there is not', async () => {
    const socket = connect(join(dir, 'data/holdfast.sock'));
    socket.setEncoding('utf8');
    let answer = '';
    socket.on('data', (text: string) => (answer += text));
    socket.write('{"request":"constructor"}\n');
    await until('an answer', () => answer.includes('\n'));
    assert.deepEqual(JSON.parse(answer), { error: 'this gateway does not know the request "constructor"' });
    assert.equal((await ask('status')).code, 0);
  });

  test('goes on when the reader of its log goes away', async () => {
    const own = scratch();
    const first = await startGateway({ dir: own, yaml: `gateway: { id: other, dataDir: ${own}/data }` });
    await first.stop();
    const child = spawn(process.execPath, [PROGRAM, 'run', '-c', first.config], { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    let said = '';
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (text: Buffer) => {
        said += text.toString();
        if (/ INFO +running/.test(said)) resolve();
      });
    });
    child.stdout.destroy();
    // Something that makes it log.
    assert.equal((await holdfast(['restart', '-c', first.config])).code, 0);
    assert.equal((await holdfast(['status', '-c', first.config])).code, 0);
    child.kill('SIGTERM');
    assert.equal(await ended, 0);
  });
});
