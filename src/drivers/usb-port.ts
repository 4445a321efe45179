import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Directories between a tty and the USB device that it belongs to: more is no USB adapter. */
const LEVELS_MAX = 4;

/** `PORT_UNKNOWN` of <linux/serial_core.h>: a place for a UART where there is none. */
const UNKNOWN_UART = '0';

/** A serial port of a USB device, by what the device says of itself. */
export interface UsbPort {
  /** Vendor and product as `lsusb` shows them: four hexadecimal digits. */
  readonly vendor: string;
  readonly product: string;
  /** Serial number of the device, where several of a kind are plugged in. */
  readonly serial?: string | undefined;
  /** Number of the interface, where one device has several ports. */
  readonly interface?: number | undefined;
}

/** A serial port that this machine has. */
export interface PresentPort {
  /** `/dev/ttyUSB0`. */
  readonly path: string;
  /** The kernel's driver: `ftdi_sio`, `cdc_acm`, `serial8250`. */
  readonly driver: string | null;
  readonly usb: UsbPort | null;
  /** What the USB device calls itself. */
  readonly description: string | null;
}

/** Where the kernel shows its ttys, and where their nodes are. */
export interface TtyPlaces {
  readonly sys: string;
  readonly dev: string;
}

export const TTY_PLACES: TtyPlaces = { sys: '/sys/class/tty', dev: '/dev' };

/** The serial ports with hardware behind them, by path. */
export async function presentPorts({ sys, dev } = TTY_PLACES): Promise<PresentPort[]> {
  const names = await readdir(sys).catch(() => []);
  const ports = await Promise.all(names.map((name) => presentPort(join(sys, name), join(dev, name))));
  return ports
    .filter((port) => port !== undefined)
    .sort((a, b) => a.path.localeCompare(b.path, 'en', { numeric: true }));
}

/** The path of a USB port that is plugged in. Rejects with an error that says which are, when it is none or several. */
export async function usbPortPath(wanted: UsbPort, places = TTY_PLACES): Promise<string> {
  const ports = await presentPorts(places);
  const found = ports.filter(({ usb }) => usb !== null && isThat(wanted, usb));
  const text = usbText(wanted);
  if (found.length > 1) {
    const each = found.map(({ path, usb }) => `${path} (${usbText(usb!)})`).join(', ');
    throw new Error(`USB serial port ${text} is ambiguous: ${each}; say serial or interface`);
  }
  if (found[0] !== undefined) return found[0].path;
  const others = ports.flatMap(({ usb }) => (usb === null ? [] : [usbText(usb)])).join(', ');
  throw new Error(`USB serial port ${text} is not plugged in; ${others === '' ? 'no other is' : `there is ${others}`}`);
}

/** `0403:6001 serial A50285BI interface 0`. */
export function usbText({ vendor, product, serial, interface: number }: UsbPort): string {
  const more = [serial === undefined ? '' : ` serial ${serial}`, number === undefined ? '' : ` interface ${number}`];
  return `${vendor}:${product}${more.join('')}`;
}

function isThat(wanted: UsbPort, present: UsbPort): boolean {
  return (
    wanted.vendor.toLowerCase() === present.vendor &&
    wanted.product.toLowerCase() === present.product &&
    (wanted.serial === undefined || wanted.serial === present.serial) &&
    (wanted.interface === undefined || wanted.interface === present.interface)
  );
}

async function presentPort(tty: string, path: string): Promise<PresentPort | undefined> {
  // A console or a pseudo terminal has no device.
  const device = await realpath(join(tty, 'device')).catch(() => undefined);
  if (device === undefined) return undefined;
  if ((await content(join(tty, 'type'))) === UNKNOWN_UART) return undefined;
  const driver = await driverOf(device);
  let found: UsbPort | null = null;
  let description: string | null = null;
  let number: string | undefined;
  for (let at = device, level = 0; level < LEVELS_MAX; at = dirname(at), level++) {
    number ??= await content(join(at, 'bInterfaceNumber'));
    const vendor = await content(join(at, 'idVendor'));
    const product = await content(join(at, 'idProduct'));
    if (vendor === undefined || product === undefined) continue;
    const serial = await content(join(at, 'serial'));
    const words = [await content(join(at, 'manufacturer')), await content(join(at, 'product'))];
    description = words.filter((word) => word !== undefined).join(' ') || null;
    found = { vendor, product, serial, interface: number === undefined ? undefined : Number.parseInt(number, 16) };
    break;
  }
  return { path, driver, usb: found, description };
}

async function content(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch {
    return undefined;
  }
}

/** The driver of the hardware; from Linux 6.5 on two devices of the serial core's own stand before it. */
async function driverOf(device: string): Promise<string | null> {
  for (let at = device, level = 0; level < LEVELS_MAX; at = dirname(at), level++) {
    const driver = await readlink(join(at, 'driver')).catch(() => null);
    if (driver !== null && !driver.includes('/serial-base/')) return basename(driver);
  }
  return null;
}
