import { fdatasync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '../src/clock/system-clock.ts';
import { LANE_UNSPECIFIED, type AcceptedAt, type Message } from '../src/message/message.ts';
import type { Sink } from '../src/router/router.ts';
import { BlockBuilder } from '../src/spool/block.ts';
import { CommitGroup } from '../src/spool/commit-group.ts';
import { CommitTimer } from '../src/spool/commit-timer.ts';
import { produce } from './producers.ts';
import { upstreamRouter } from './upstream-router.ts';
import { contend, processorTime } from './worker.ts';

/** The limit: the same blocks at the same cadence, each appended to a file and flushed; nothing can be read or deleted. */

interface Args {
  readonly folder: string;
  readonly producers: number;
  readonly ms: number;
}

class AppendLog implements Sink {
  readonly #file: number;
  readonly #clock = new SystemClock(() => true);
  readonly #block = new BlockBuilder(LANE_UNSPECIFIED);
  readonly #timer = new CommitTimer(
    this.#clock,
    () => 250,
    () => this.#commit(),
  );
  #group = new CommitGroup();
  #seq = 0;

  constructor(file: number) {
    this.#file = file;
  }

  stamp(): AcceptedAt {
    const monotonic = this.#clock.monotonic();
    return { wall: this.#clock.wall(), monotonic, boot: 1, clock: 'synced', age: monotonic };
  }

  accept(message: Message, senderWaits: boolean): Promise<void> {
    this.#block.add(++this.#seq, message, 7_200_000);
    this.#timer.message(senderWaits);
    return this.#group.durable;
  }

  refused(): void {}

  discard(): void {}

  #commit(): void {
    this.#timer.begun();
    const group = this.#group;
    group.holds();
    this.#group = new CommitGroup();
    // Into the page cache: that takes microseconds. The flush has a thread of its own.
    writeSync(this.#file, this.#block.cut(1).value);
    fdatasync(this.#file, (error) => {
      if (error !== null) throw error;
      group.written();
      this.#timer.ended();
    });
  }
}

await contend<Args>(async ({ folder, producers, ms }) => {
  const file = openSync(join(folder, 'log'), 'a');
  const router = upstreamRouter(new AppendLog(file));
  return async () => {
    // The clock's own timers let a process end.
    const awake = setInterval(() => undefined, 1000);
    const used = processorTime();
    const from = performance.now();
    const messages = await produce(router, producers, ms);
    const seconds = (performance.now() - from) / 1000;
    clearInterval(awake);
    return { messages, perSecond: messages / seconds, processorUs: used() / messages };
  };
});
