import { createRequire } from 'node:module';

/** How RTS switches the direction of an RS-485 transceiver. */
export interface Rs485 {
  /** Level of RTS while sending. */
  readonly rtsOnSend: 'high' | 'low';
  readonly delayBeforeMs: number;
  readonly delayAfterMs: number;
}

/** The request and `struct serial_rs485` of <linux/serial.h>. */
export const TIOCSRS485 = 0x542f;
const STRUCT_BYTES = 32;
const ENABLED = 1 << 0;
const RTS_ON_SEND = 1 << 1;
const RTS_AFTER_SEND = 1 << 2;

type Ioctl = (fd: number, request: number, argument: Buffer) => number;

/** Has the kernel switch the direction of an open port. Throws when the driver of the port cannot. */
export function setRs485(fd: number, settings: Rs485): void {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const ioctl = koffi.load(null).func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)') as Ioctl;
  if (ioctl(fd, TIOCSRS485, rs485Struct(settings)) === 0) return;
  throw new Error(
    'offers no switching of the RS-485 direction; remove rs485, or use an adapter that switches by itself',
  );
}

/** `struct serial_rs485`, in the byte order of this machine (all that Node runs on here are little-endian). */
export function rs485Struct({ rtsOnSend, delayBeforeMs, delayAfterMs }: Rs485): Buffer {
  const made = Buffer.alloc(STRUCT_BYTES);
  made.writeUInt32LE(ENABLED | (rtsOnSend === 'high' ? RTS_ON_SEND : RTS_AFTER_SEND));
  made.writeUInt32LE(delayBeforeMs, 4);
  made.writeUInt32LE(delayAfterMs, 8);
  return made;
}
