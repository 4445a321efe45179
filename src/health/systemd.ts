import { createRequire } from 'node:module';
import { getSystemErrorName } from 'node:util';
import type { Logger } from 'pino';

/** From <sys/socket.h> on Linux. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** `sun_path` of `struct sockaddr_un` (unix(7)), bytes, with its closing NUL. */
const SUN_PATH_BYTES = 108;
/** A start that goes on says so this often, ms, and is given so much more, us: a card may be busy with one write for long. */
const STARTING_EVERY_MS = 10_000;
const STARTING_USEC = 300_000_000;

interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  sendto(fd: number, data: Buffer, length: number, flags: number, address: Buffer, addressLength: number): number;
  errno(): number;
}

/**
 * Tells systemd how we are: sd_notify(3)'s datagrams, sent by this process itself, so that `NotifyAccess=main` is enough.
 * Nothing here throws; what could not be sent is logged once until something gets through again.
 */
export class SystemdNotifier {
  /** How often `watchdog` should be called, ms: half of what systemd waits. Null: it does not watch us. */
  readonly watchdogIntervalMs: number | null;
  readonly #libc: Libc;
  readonly #socket: number;
  readonly #address: Buffer;
  readonly #log: Logger;
  #failing = false;
  #startingAt = -Infinity;

  private constructor(libc: Libc, socket: number, address: Buffer, watchdogIntervalMs: number | null, log: Logger) {
    this.#libc = libc;
    this.#socket = socket;
    this.#address = address;
    this.watchdogIntervalMs = watchdogIntervalMs;
    this.#log = log;
  }

  /**
   * The systemd that started us, or null: nobody waits for our word, or it cannot be sent (logged as an error, since a
   * `Type=notify` unit that stays silent is killed). Takes systemd's variables out of `env`: they are meant for this
   * process, and a child that inherited them could speak in our name.
   */
  static fromEnvironment(env: NodeJS.ProcessEnv, log: Logger): SystemdNotifier | null {
    const { NOTIFY_SOCKET: path, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = env;
    delete env['NOTIFY_SOCKET'];
    delete env['WATCHDOG_USEC'];
    delete env['WATCHDOG_PID'];
    if (path === undefined || path === '') return null;
    try {
      const address = socketAddress(path);
      const libc = loadLibc();
      const socket = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      if (socket < 0) throw new Error(`socket: ${errorName(libc)}`);
      return new SystemdNotifier(libc, socket, address, watchdogInterval(usec, pid), log);
    } catch (error) {
      log.error({ err: error, path }, 'systemd waits for our word on $NOTIFY_SOCKET, and we cannot give it');
      return null;
    }
  }

  /** Start-up is over: units ordered after us may start. */
  ready(status?: string): void {
    // The one message that must not be lost to a full queue: systemd would kill us at the end of TimeoutStartSec.
    this.#send(status === undefined ? 'READY=1' : `READY=1\nSTATUS=${oneLine(status)}`, 0);
  }

  /** The start goes on: where TimeoutStartSec is over, systemd waits longer. May be called as often as one likes. `now`: monotonic ms. */
  starting(now: number): void {
    if (now < this.#startingAt + STARTING_EVERY_MS) return;
    this.#startingAt = now;
    this.#send(`EXTEND_TIMEOUT_USEC=${STARTING_USEC}`, MSG_DONTWAIT);
  }

  /** One line for `systemctl status`. */
  status(text: string): void {
    this.#send(`STATUS=${oneLine(text)}`, MSG_DONTWAIT);
  }

  /** We have begun to stop; systemd's TimeoutStopSec runs. */
  stopping(): void {
    this.#send('STOPPING=1', MSG_DONTWAIT);
  }

  /** We are alive. Without one in `WatchdogSec`, systemd kills and restarts us. */
  watchdog(): void {
    this.#send('WATCHDOG=1', MSG_DONTWAIT);
  }

  #send(text: string, flags: number): void {
    const data = Buffer.from(text);
    const sent = this.#libc.sendto(
      this.#socket,
      data,
      data.length,
      flags | MSG_NOSIGNAL,
      this.#address,
      this.#address.length,
    );
    if (sent >= 0) {
      this.#failing = false;
    } else if (!this.#failing) {
      this.#failing = true;
      this.#log.warn({ code: errorName(this.#libc), message: text }, 'systemd did not take our word');
    }
  }
}

/** `struct sockaddr_un`: the family in the machine's byte order, then the path; a leading `@` stands for an abstract name. */
function socketAddress(path: string): Buffer {
  const abstract = path.startsWith('@');
  if (!abstract && !path.startsWith('/')) throw new Error('neither an absolute path nor an abstract name');
  const name = Buffer.from(abstract ? `\0${path.slice(1)}` : `${path}\0`);
  if (name.length > SUN_PATH_BYTES) throw new Error(`longer than the ${SUN_PATH_BYTES - 1} bytes of a socket's name`);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}

/** sd_watchdog_enabled(3): microseconds, and only for the process that WATCHDOG_PID names, if it names one. */
function watchdogInterval(usec: string | undefined, pid: string | undefined): number | null {
  if (pid !== undefined && pid !== '' && Number(pid) !== process.pid) return null;
  const interval = Math.floor(Number(usec) / 2000);
  return interval > 0 ? interval : null;
}

/** A second line would be read as another assignment. */
function oneLine(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ');
}

function errorName(libc: Libc): string {
  return getSystemErrorName(-libc.errno());
}

function loadLibc(): Libc {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const libc = koffi.load(null);
  return {
    socket: libc.func('int socket(int domain, int type, int protocol)') as Libc['socket'],
    sendto: libc.func(
      // koffi knows no ssize_t; Linux has it as wide as long.
      'long sendto(int fd, const uint8_t *data, size_t length, int flags, const uint8_t *address, uint32_t addressLength)',
    ) as Libc['sendto'],
    errno: () => koffi.errno(),
  };
}
