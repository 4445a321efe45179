import { realpath } from 'node:fs/promises';
import type { Clock } from '../clock/clock.ts';
import { ModbusLine } from './modbus/line.ts';
import { portHolder } from './port-holder.ts';
import { OpenSerialPort, PortInUseError, type SerialLine, type SerialPortEvents } from './serial-port.ts';
import { TTY_PLACES, type TtyPlaces, type UsbPort, usbPortPath } from './usb-port.ts';

/** A port by path, or by the USB device that it is part of. */
export type PortName = string | { readonly usb: UsbPort };

/** A serial line as a child is configured with it. */
export interface PortSettings extends Omit<SerialLine, 'port'> {
  readonly port: PortName;
  /** How long the line may say nothing while something is expected before the port is opened again, ms. */
  readonly reopenAfterMs?: number | undefined;
}

type Owner = () => string;

interface SharedLine {
  readonly settings: string;
  readonly opening: Promise<ModbusLine>;
  readonly members: Map<symbol, { readonly child: string; readonly gone: (error: Error) => void }>;
  /** Set once the port went away or was closed: whoever comes next opens a line of its own. */
  over: boolean;
}

/** A place at a line that several children share. */
export interface LineSeat {
  readonly line: ModbusLine;
  /** The last to leave closes the port. */
  leave(): Promise<void>;
}

/**
 * The serial ports of one gateway: each has one owner, and the Modbus children of one port share it. Whoever is refused
 * a port is told who has it.
 */
export class SerialPorts {
  /** Not a child's own: a shared line outlives the child that opened it. */
  readonly #clock: Clock;
  /** Device to who has it. */
  readonly #owners = new Map<string, Owner>();
  readonly #places: TtyPlaces;
  readonly #lines = new Map<string, SharedLine>();

  /** `places`: where the kernel shows its ttys and their nodes. */
  constructor(clock: Clock, places: TtyPlaces = TTY_PLACES) {
    this.#clock = clock;
    this.#places = places;
  }

  /** Opens a port for one child. Rejects with an error that names the port, and who else has it. */
  async open(settings: PortSettings, child: string | Owner, events: SerialPortEvents): Promise<SerialPort> {
    const line = { ...settings, port: await this.#path(settings.port) };
    const device = await realpath(line.port).catch(() => line.port);
    let port: OpenSerialPort;
    try {
      port = await OpenSerialPort.open(line, this.#clock, events);
    } catch (error) {
      if (!((error as Error).cause instanceof PortInUseError)) throw error;
      throw new Error(`serial port ${line.port} is in use by ${await this.#holder(device)}`, { cause: error });
    }
    const owner = typeof child === 'string' ? () => child : child;
    this.#owners.set(device, owner);
    return {
      write: (bytes) => port.write(bytes),
      close: async () => {
        if (this.#owners.get(device) === owner) this.#owners.delete(device);
        await port.close();
      },
    };
  }

  /**
   * Takes a place at the Modbus line of a port, which the first to come opens. `gone` is told to everybody at the line when
   * the port went away; their places are void then. Rejects as `open` does, and when others have the line with other
   * settings.
   */
  async join(settings: PortSettings, child: string, gone: (error: Error) => void): Promise<LineSeat> {
    const path = await this.#path(settings.port);
    const device = await realpath(path).catch(() => path);
    const wanted = lineText(settings);
    let shared = this.#lines.get(device);
    if (shared === undefined || shared.over) {
      shared = this.#newLine({ ...settings, port: path }, device, wanted);
      this.#lines.set(device, shared);
    } else if (shared.settings !== wanted) {
      throw new Error(
        `serial port ${path} is in use by the child ${namesOf(shared.members)}, with other settings of the line`,
      );
    }
    const seat = Symbol(child);
    shared.members.set(seat, { child, gone });
    const { opening } = shared;
    const leave = async (): Promise<void> => {
      if (!shared.members.delete(seat) || shared.members.size > 0) return;
      this.#end(device, shared);
      await opening.then(
        (line) => line.close(),
        () => {},
      );
    };
    try {
      return { line: await opening, leave };
    } catch (error) {
      await leave();
      throw error;
    }
  }

  #newLine(settings: PortSettings, device: string, wanted: string): SharedLine {
    const members: SharedLine['members'] = new Map();
    const opening = ModbusLine.open(
      settings,
      this.#clock,
      async (events) => this.open(settings, () => namesOf(members), events),
      (error) => {
        this.#end(device, shared);
        for (const { gone } of members.values()) gone(error);
      },
    );
    const shared: SharedLine = { settings: wanted, opening, members, over: false };
    // Everybody who waits for it is told by their own call.
    opening.catch(() => this.#end(device, shared));
    return shared;
  }

  #end(device: string, shared: SharedLine): void {
    shared.over = true;
    if (this.#lines.get(device) === shared) this.#lines.delete(device);
  }

  /** Looked up each time: a USB device may come back as another tty. Rejects when it is not there. */
  async #path(port: PortName): Promise<string> {
    return typeof port === 'string' ? port : usbPortPath(port.usb, this.#places);
  }

  async #holder(device: string): Promise<string> {
    const owner = this.#owners.get(device);
    if (owner !== undefined) return `the child ${owner()}`;
    return (await portHolder(device))?.text ?? 'another program';
  }
}

/** What may be done with a port that is open. */
export type SerialPort = Pick<OpenSerialPort, 'write' | 'close'>;

/** What children must agree on that share a line. */
function lineText({ baudRate, dataBits, parity, stopBits, rs485 }: PortSettings): string {
  return JSON.stringify({ baudRate, dataBits, parity, stopBits, rs485 });
}

function namesOf(members: SharedLine['members']): string {
  return [...members.values()].map(({ child }) => child).join(', ');
}
