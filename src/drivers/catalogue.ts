import type { BackoffLimits } from './backoff.ts';
import type { Driver, DriverContext } from './driver.ts';
import { GpioDriver, type GpioOptions } from './gpio.ts';
import { HostDriver, type HostOptions } from './host.ts';
import { ModbusDriver, type ModbusOptions } from './modbus/driver.ts';
import { SerialDriver, type SerialOptions } from './serial.ts';
import type { SerialPorts } from './serial-ports.ts';
import { SimulatedDriver, type SimulatedOptions } from './simulated.ts';

/** What each kind of wired child is configured with; the keys are those of `gateway.yaml`. */
export interface DriverOptions {
  readonly simulated: SimulatedOptions;
  readonly serial: SerialOptions | ModbusOptions;
  readonly gpio: GpioOptions;
  readonly host: HostOptions;
}

export type DriverKind = keyof DriverOptions;

interface CatalogueEntry<Options> {
  readonly create: (options: Options, context: DriverContext, ports: SerialPorts) => Driver;
  /** Where the supervisor's own limits do not fit. */
  readonly backoff?: BackoffLimits;
}

/**
 * The drivers by kind. These modules are small: the packages they stand on (serialport, onoff, systeminformation) are imported
 * when a driver starts, so that a gateway pays only for the children it has.
 */
export const catalogue: { readonly [Kind in DriverKind]: CatalogueEntry<DriverOptions[Kind]> } = {
  simulated: { create: (options, context) => new SimulatedDriver(options, context) },
  serial: {
    create: (options, context, ports) =>
      isModbus(options) ? new ModbusDriver(options, context, ports) : new SerialDriver(options, context, ports),
    // Somebody stands beside the board with the plug in their hand.
    backoff: { minMs: 1_000, maxMs: 5_000 },
  },
  gpio: { create: (options, context) => new GpioDriver(options, context) },
  host: { create: (options, context) => new HostDriver(options, context) },
};

function isModbus(options: SerialOptions | ModbusOptions): options is ModbusOptions {
  return options.decoder.kind === 'modbus';
}
