import { readdirSync, readlinkSync } from 'node:fs';

/** Sockets that a process has open; this one when left out. */
export function openSockets(pid: number | 'self' = 'self'): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');
    } catch {
      // The one by which the folder was read, or one that was closed meanwhile.
      return false;
    }
  }).length;
}
