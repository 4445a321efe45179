import assert from 'node:assert/strict';
import type { CommandResult } from '../../src/commands/commands.ts';
import type { GpioOptions } from '../../src/drivers/gpio.ts';
import type { Count } from '../../src/drivers/gpio-count.ts';
import type { DriverSnapshot, DriverState } from '../../src/drivers/supervisor.ts';
import { until } from '../parts/until.ts';
import type { Way } from './guest.ts';
import { CHIP } from './machine.ts';
import type { DriverMachine, GuestReading } from './driver-machine.ts';

/** One GPIO child in the guest, seen from outside. */
export class GuestChild {
  readonly #vm: DriverMachine;
  readonly name: string;
  readonly line: number;
  /** As it was when its first start succeeded or failed. */
  readonly started: DriverSnapshot;
  /** Readings before this place are of a child that had the name before. */
  readonly #from: number;

  private constructor(vm: DriverMachine, name: string, line: number, from: number, started: DriverSnapshot) {
    this.#vm = vm;
    this.name = name;
    this.line = line;
    this.#from = from;
    this.started = started;
  }

  /** An input that tells of both edges, without debounce, unless `change` says otherwise. */
  static async start(
    vm: DriverMachine,
    line: number,
    change: Partial<GpioOptions> = {},
    way: Way = 'either',
    afterCrash = false,
  ): Promise<GuestChild> {
    const name = `child${line}`;
    const options: GpioOptions = {
      line: { name: `PIN${line}`, chip: CHIP, offset: line },
      direction: 'in',
      edge: 'both',
      debounceMs: 0,
      activeLow: false,
      bias: 'as-is',
      initial: 0,
      duration: false,
      ...change,
    };
    const from = vm.readings.length;
    return new GuestChild(vm, name, line, from, await vm.ask('start', { child: name, options, way, afterCrash }));
  }

  readings(): GuestReading[] {
    return this.#vm.readings.slice(this.#from).filter(({ child }) => child === this.name);
  }

  /** Edges that it said were lost. */
  lost(): number {
    return this.readings().reduce((sum, { lost }) => sum + lost, 0);
  }

  /** The readings of a child that counts. */
  counts(): Count[] {
    return this.readings().map(({ body }) => JSON.parse(body) as Count);
  }

  /** What it told so far: levels, and `[level, 'coalesced']` for one that stands for more edges. */
  told(): unknown[] {
    return this.readings().map(({ body, coalesced }) => {
      const { line, value } = JSON.parse(body) as { line: string; value: number };
      assert.equal(line, `PIN${this.line}`);
      return coalesced ? [value, 'coalesced'] : value;
    });
  }

  /** Resolves when it told so many readings. */
  async untilTold(count: number): Promise<void> {
    await this.#vm.bell.until(
      () => `${count} readings of ${this.name}; it told ${JSON.stringify(this.told())}\n${this.#vm.console()}`,
      () => this.readings().length >= count,
    );
  }

  /** Puts one voltage after the other at the line, each when the one before has been told. */
  async edges(...voltages: readonly (0 | 1)[]): Promise<void> {
    for (const voltage of voltages) {
      const before = this.readings().length;
      await this.#vm.pins.drive(this.line, voltage);
      await this.untilTold(before + 1);
    }
  }

  command(name: string, payload?: unknown): Promise<CommandResult> {
    return this.#vm.ask('command', { child: this.name, name, payload });
  }

  snapshot(): Promise<DriverSnapshot> {
    return this.#vm.ask('snapshot', { child: this.name });
  }

  /** Resolves with the snapshot when the child is in this state and `also` holds. */
  async untilState(state: DriverState, also = (_: DriverSnapshot): boolean => true): Promise<DriverSnapshot> {
    let last: DriverSnapshot | undefined;
    return until(
      () => `${this.name} to be ${state}; it is ${JSON.stringify(last)}`,
      async () => {
        last = await this.snapshot();
        return last.state === state && also(last) ? last : null;
      },
    );
  }

  restart(): Promise<DriverSnapshot> {
    return this.#vm.ask('restart', { child: this.name });
  }

  stop(): Promise<DriverSnapshot> {
    return this.#vm.ask('stop', { child: this.name });
  }
}
