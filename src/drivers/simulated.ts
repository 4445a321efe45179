import type { Timer } from '../clock/clock.ts';
import type { CommandResult } from '../commands/commands.ts';
import type { Driver, DriverContext } from './driver.ts';

/*
 * The behaviour of Azure's SimulatedTemperatureSensor module (github.com/Azure/iotedge, edge-modules), which the published
 * rule examples are written against.
 */
const MACHINE_TEMPERATURE = { min: 21, max: 100 } as const; // degrees C
const MACHINE_PRESSURE = { min: 1, max: 10 } as const;
const AMBIENT_TEMPERATURE = 21; // degrees C, give or take half
const AMBIENT_HUMIDITY = { min: 24, max: 27 } as const; // percent

export interface SimulatedOptions {
  readonly sendIntervalMs: number;
  /** Messages until the sensor is finished; -1: never. */
  readonly messageCount: number;
}

/**
 * A machine that heats up until command `reset` cools it. The first reading comes at start, then one each interval:
 * `{machine: {temperature, pressure}, ambient: {temperature, humidity}, timeCreated}`.
 */
export class SimulatedDriver implements Driver {
  readonly #options: SimulatedOptions;
  readonly #context: DriverContext;
  readonly #random: () => number;
  #timer: Timer | undefined;
  #temperature: number = MACHINE_TEMPERATURE.min;
  #sent = 0;

  /** `random` gives numbers in [0, 1), as Math.random does. */
  constructor(options: SimulatedOptions, context: DriverContext, random: () => number = Math.random) {
    this.#options = options;
    this.#context = context;
    this.#random = random;
  }

  async start(): Promise<void> {
    this.#temperature = MACHINE_TEMPERATURE.min;
    this.#sent = 0;
    this.#timer = this.#context.clock.every(this.#options.sendIntervalMs, () => this.#send());
    this.#send();
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async command(name: string): Promise<CommandResult> {
    if (name !== 'reset')
      return { status: 404, payload: { error: `a simulated child has no command '${name}'; it has reset` } };
    this.#temperature = MACHINE_TEMPERATURE.min;
    return { status: 200, payload: { temperature: this.#temperature } };
  }

  #send(): void {
    const { messageCount } = this.#options;
    if (messageCount < 0 || this.#sent < messageCount) {
      this.#sent++;
      this.#emit();
    }
    if (messageCount < 0 || this.#sent < messageCount) return;
    this.#timer?.cancel();
    this.#context.finished(`sent ${messageCount} messages`);
  }

  #emit(): void {
    // Below the maximum it climbs by half a degree on average; above, it wanders.
    this.#temperature +=
      this.#temperature < MACHINE_TEMPERATURE.max ? 1.5 * this.#random() - 0.25 : this.#random() - 0.5;
    const heat = (this.#temperature - MACHINE_TEMPERATURE.min) / (MACHINE_TEMPERATURE.max - MACHINE_TEMPERATURE.min);
    const { clock } = this.#context;
    const body = {
      machine: {
        temperature: this.#temperature,
        pressure: MACHINE_PRESSURE.min + heat * (MACHINE_PRESSURE.max - MACHINE_PRESSURE.min),
      },
      ambient: {
        temperature: AMBIENT_TEMPERATURE + this.#random() - 0.5,
        humidity: AMBIENT_HUMIDITY.min + Math.floor(this.#random() * (AMBIENT_HUMIDITY.max - AMBIENT_HUMIDITY.min + 1)),
      },
      timeCreated: new Date(clock.wall()).toISOString(),
    };
    this.#context.emit({
      body: Buffer.from(JSON.stringify(body)),
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      measuredAt: clock.monotonic(),
    });
  }
}
