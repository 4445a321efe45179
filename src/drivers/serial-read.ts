import { read } from 'node:fs';
import { promisify } from 'node:util';
import type { SerialPort } from 'serialport';

/** What is used here of serialport's inner object for Linux, which its types call by the name of every platform at once. */
interface LinuxBinding {
  fd: number | null;
  readonly poller: { once(event: 'readable', callback: (error: Error | null) => void): unknown };
  read(buffer: Buffer, offset: number, length: number): Promise<{ bytesRead: number; buffer: Buffer }>;
}

const readDescriptor = promisify(read);

/**
 * Puts a read of our own into an open port. The package's own (bindings-cpp 13, unix-read.js) takes 0 bytes for "try again",
 * while on a port opened raw and non-blocking they mean that it was hung up: unplugged at the wrong moment, it then reads
 * for ever at full speed, gathering memory, and never says `close` (serialport/bindings-cpp, issue 162). Ours takes them for
 * the end, upon which the stream closes as it does after any other read error.
 */
export function endReadsAtHangup(port: SerialPort): void {
  const binding = port.port as LinuxBinding | undefined;
  if (binding?.poller === undefined || typeof binding.fd !== 'number') return;
  binding.read = async (buffer, offset, length) => {
    for (;;) {
      const bytesRead = await readNow(openDescriptor(binding), buffer, offset, length);
      if (bytesRead > 0) return { bytesRead, buffer };
      if (bytesRead === 0) throw new Error('hung up');
      // Looked at again, for the port may have been closed meanwhile, and its poller with it: using that one is a SIGSEGV.
      openDescriptor(binding);
      await readable(binding);
    }
  };
}

/** Throws with the `canceled` by which the stream knows a close that was asked for. */
function openDescriptor(binding: LinuxBinding): number {
  if (binding.fd === null) throw Object.assign(new Error('Port is not open'), { canceled: true });
  return binding.fd;
}

/** Bytes read, 0 after a hangup, -1 when there is nothing to read yet. */
async function readNow(descriptor: number, buffer: Buffer, offset: number, length: number): Promise<number> {
  try {
    return (await readDescriptor(descriptor, buffer, offset, length, null)).bytesRead;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EAGAIN' || code === 'EINTR') return -1;
    throw error;
  }
}

/** Rejects when the port is closed meanwhile, with `canceled` as well. */
async function readable(binding: LinuxBinding): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    binding.poller.once('readable', (error) => (error ? reject(error) : resolve()));
  });
}
