/*
 * The program inside the virtual machine: the product's GPIO driver and supervisor, told what to do from outside. It runs as
 * the machine's first process. What it is asked and what it tells goes through a virtio port as lines of JSON; its log and
 * the kernel's go to the machine's console.
 */
import { createReadStream, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { SystemClock } from '../../src/clock/system-clock.ts';
import type { CommandResult } from '../../src/commands/commands.ts';
import { GpioDriver, type GpioOptions } from '../../src/drivers/gpio.ts';
import { characterWay } from '../../src/drivers/gpio-character.ts';
import { linuxGpio } from '../../src/drivers/gpio-kernel.ts';
import { sysfsWay } from '../../src/drivers/gpio-sysfs.ts';
import { eitherWay } from '../../src/drivers/gpio-ways.ts';
import { type DriverSnapshot, DriverSupervisor } from '../../src/drivers/supervisor.ts';

/** How the driver gets its line: as the product does, or in one way only. */
export type Way = keyof typeof WAYS;
const WAYS = {
  either: eitherWay(),
  character: characterWay(),
  /** Where the kernel keeps 16 edges, its least. */
  character16: characterWay(linuxGpio, 16),
  sysfs: sysfsWay(),
};

/** What the guest can be asked, each with what it is given and what it answers. */
export interface Requests {
  /** Makes a driver under a supervisor, and starts it; answers when its first start succeeded or failed. */
  start: { given: { child: string; options: GpioOptions; way: Way; afterCrash?: boolean }; answer: DriverSnapshot };
  stop: { given: { child: string }; answer: DriverSnapshot };
  restart: { given: { child: string }; answer: DriverSnapshot };
  snapshot: { given: { child: string }; answer: DriverSnapshot };
  command: { given: { child: string; name: string; payload?: unknown }; answer: CommandResult };
  /** Goes on as this user and group for good. */
  become: { given: { uid: number; gid: number }; answer: null };
  /** How many files this process has open. */
  openFiles: { given: Record<string, never>; answer: number };
  /** Answers, and then blocks the event loop until a byte comes through the second port. */
  hold: { given: Record<string, never>; answer: null };
}

/** One line to the guest. */
export interface Request {
  readonly id: number;
  readonly ask: keyof Requests;
  readonly given: unknown;
}

/** One line from the guest. */
export type Told =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: string }
  | {
      readonly child: string;
      readonly body: string;
      readonly coalesced: boolean;
      readonly lost: number;
      readonly eventTime: number;
    }
  | { readonly hello: string };

type Answers = { [K in keyof Requests]: (given: Requests[K]['given']) => Promise<Requests[K]['answer']> };

const [asked, held] = ['agent', 'hold'].map((name) => openSync(`/dev/${name}`, 'r+')) as [number, number];
// Standard output is the console; pino's own writing in the background would lose lines at a crash.
const log = pino({ level: 'debug', base: null }, { write: (line) => void writeSync(1, line) });
const clock = new SystemClock(() => true);
const children = new Map<string, DriverSupervisor>();

function tell(told: Told): void {
  writeSync(asked, `${JSON.stringify(told)}\n`);
}

function child(name: string): DriverSupervisor {
  const found = children.get(name);
  if (found === undefined) throw new Error(`no child ${name}`);
  return found;
}

const answers: Answers = {
  start: async ({ child: name, options, way, afterCrash = false }) => {
    const supervisor = new DriverSupervisor({
      child: name,
      kind: 'gpio',
      create: (context) => new GpioDriver(options, context, WAYS[way]),
      afterCrash: () => afterCrash,
      clock,
      log,
      onReading: (_, { body, measuredAt, properties }) =>
        tell({
          child: name,
          body: body.toString(),
          coalesced: properties?.coalesced === 'true',
          lost: Number(properties?.lost ?? 0),
          // As the router dates it.
          eventTime: clock.wall() - clock.monotonic() + (measuredAt ?? 0),
        }),
      backoff: { minMs: 200, maxMs: 400 },
    });
    children.set(name, supervisor);
    await supervisor.start();
    return supervisor.snapshot();
  },
  stop: async ({ child: name }) => {
    await child(name).stop();
    return child(name).snapshot();
  },
  restart: async ({ child: name }) => {
    await child(name).restart();
    return child(name).snapshot();
  },
  snapshot: async ({ child: name }) => child(name).snapshot(),
  command: async ({ child: name, name: command, payload }) => child(name).command(command, payload),
  become: async ({ uid, gid }) => {
    process.setgid!(gid);
    process.setuid!(uid);
    return null;
  },
  openFiles: async () => readdirSync('/proc/self/fd').length,
  hold: async () => null,
};

async function answer({ id, ask, given }: Request): Promise<void> {
  try {
    tell({ id, answer: await (answers[ask] as (given: unknown) => Promise<unknown>)(given) });
    // Without a turn of the event loop in between: who hears the answer goes on at once.
    if (ask === 'hold') readSync(held, Buffer.alloc(1));
  } catch (error) {
    tell({ id, error: (error as Error).message });
  }
}

createInterface({ input: createReadStream('', { fd: asked }) }).on('line', (line) => {
  void answer(JSON.parse(line) as Request);
});
tell({ hello: `Node ${process.version} for ${process.arch}` });
