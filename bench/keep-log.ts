import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { SystemClock } from '../src/clock/system-clock.ts';
import { LANE_UNSPECIFIED, type Message } from '../src/message/message.ts';
import { BlockBuilder } from '../src/spool/block.ts';
import { RecordKeeper } from './keeper.ts';
import { appendZeros } from './zeros.ts';

/**
 * The limit: Holdfast's blocks, deflated and with a checksum, one after the other into a file that is long enough already,
 * and a page that says up to where they are delivered. It cannot find, skip, evict or reuse anything.
 */

const MARK_BYTES = 4096;

export class LogKeeper extends RecordKeeper {
  readonly #file: number;
  readonly #marks: number;
  readonly #block = new BlockBuilder(LANE_UNSPECIFIED);
  #seq = 0;
  #end = 0;
  #held = 0;
  #delivered = 0;

  constructor(folder: string, clock: SystemClock, fileBytes: number) {
    super(clock);
    appendZeros(join(folder, 'log'), fileBytes);
    this.#file = openSync(join(folder, 'log'), 'r+');
    this.#marks = openSync(join(folder, 'marks'), 'w');
    writeSync(this.#marks, Buffer.alloc(MARK_BYTES), 0, MARK_BYTES, 0);
  }

  override accept(message: Message): Promise<void> {
    this.#block.add(++this.#seq, message, 7_200_000);
    return Promise.resolve();
  }

  commit(): Promise<void> {
    const { value } = this.#block.cut(1);
    writeSync(this.#file, value, 0, value.length, this.#end);
    fdatasyncSync(this.#file);
    this.#end += value.length;
    this.#held += value.length;
    return Promise.resolve();
  }

  deliver(count: number): Promise<void> {
    this.#delivered += count;
    const mark = Buffer.alloc(MARK_BYTES);
    mark.writeDoubleBE(this.#delivered);
    writeSync(this.#marks, mark, 0, mark.length, 0);
    fdatasyncSync(this.#marks);
    // All are delivered: it begins again at its start.
    if (this.#delivered === this.#seq) this.#end = this.#held = 0;
    return Promise.resolve();
  }

  heldBytes(): number {
    return this.#held;
  }

  close(): Promise<void> {
    closeSync(this.#file);
    closeSync(this.#marks);
    return Promise.resolve();
  }
}
