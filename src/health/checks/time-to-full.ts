import type { GatewayStatus } from '../status.ts';
import { fail, ok, skip, warn, type Finding } from './check.ts';

/** Share of the quota that messages may take (see spool/quota.ts). */
const LIVE_SHARE = 0.9;
const HOUR_SECS = 3600;
const DAY_SECS = 86_400;

/** How long the spool holds out without its upstream, at the rate at which messages have come since the start. */
export function timeToFull({ spool, upstream }: GatewayStatus, timeToLiveSecs: number): Finding {
  const { intakeBytesPerDay: perDay, quotaBytes, livePages, pageBytes } = spool;
  if (perDay === null) return skip('the gateway has not run for a minute: nobody knows yet how much comes in');
  if (perDay === 0) return ok('nothing comes in');
  const free = Math.max(0, quotaBytes * LIVE_SHARE - livePages * pageBytes);
  const secs = (free / perDay) * DAY_SECS;
  const rate = `${mib(perDay)} a day come in`;
  if (timeToLiveSecs < secs) {
    return ok(`${rate}; without an upstream messages expire after ${span(timeToLiveSecs)}, before the spool is full`);
  }
  const message = `${rate}; without an upstream the spool is full in ${span(secs)}`;
  const away = upstream?.state !== 'online';
  const fix = 'raise storeAndForward.quota, have sensors read less often, or lower timeToLiveSecs';
  if (away && secs < HOUR_SECS) return fail(`${message}, and it is away`, fix);
  return secs < DAY_SECS ? warn(message, fix) : ok(message);
}

function span(secs: number): string {
  if (secs >= 2 * DAY_SECS) return `${Math.floor(secs / DAY_SECS)} days`;
  if (secs >= 2 * HOUR_SECS) return `${Math.floor(secs / HOUR_SECS)} hours`;
  return `${Math.floor(secs / 60)} minutes`;
}

function mib(bytes: number): string {
  return bytes < 1024 ** 2 ? `${Math.ceil(bytes / 1024)} KiB` : `${Math.round(bytes / 1024 ** 2)} MiB`;
}
