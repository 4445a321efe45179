import { connect, type Socket } from 'node:net';
import type { Clock, Timer } from '../clock/clock.ts';
import { codeOf, DialFailed, GIVEN_UP, reasonOf } from './dial-failed.ts';

/** How long one address has before the next is tried beside it, ms (RFC 8305, section 5: "Connection Attempt Delay"). */
export const ATTEMPT_DELAY_MS = 250;
/** Most addresses of one name that are tried in one attempt. */
export const ADDRESSES_MAX = 8;

export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** The order in which addresses are tried: by turns of each family, `first` beginning (RFC 8305, section 4). */
export function inTurns(addresses: readonly Address[], first: 4 | 6): Address[] {
  const ahead = addresses.filter(({ family }) => family === first);
  const behind = addresses.filter(({ family }) => family !== first);
  const turns = Array.from({ length: Math.max(ahead.length, behind.length) }, (_, n) => [ahead[n], behind[n]]);
  return turns
    .flat()
    .filter((each) => each !== undefined)
    .slice(0, ADDRESSES_MAX);
}

/**
 * Connects to whichever of the addresses answers first, each one beginning a little after the one before, or at once when
 * that has failed (RFC 8305, "Happy Eyeballs"). Rejects with {@link DialFailed} when none answers, or when `signal` aborts;
 * no socket is left but the one that it resolves with.
 */
export function race(addresses: readonly Address[], port: number, clock: Clock, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const open = new Set<Socket>();
    const errors: Error[] = [];
    let next = 0;
    let timer: Timer | null = null;
    let settled = false;
    const settle = (winner: Socket | null, act: () => void) => {
      if (settled) return;
      settled = true;
      timer?.cancel();
      signal.removeEventListener('abort', giveUp);
      for (const socket of open) if (socket !== winner) socket.destroy();
      act();
    };
    const giveUp = () => settle(null, () => reject(new DialFailed('tcp', GIVEN_UP)));
    const lost = (socket: Socket, error: Error) => {
      open.delete(socket);
      errors.push(error);
      if (settled) return;
      if (next < addresses.length) begin();
      else if (open.size === 0) settle(null, () => reject(refusal(errors)));
    };
    const begin = () => {
      timer?.cancel();
      const { address, family } = addresses[next++]!;
      // Nagle's algorithm holds back the rest of a window until the broker's delayed acknowledgement: 12,000 messages/s
      // instead of 50,000 at windows around 200.
      const socket = connect({ host: address, family, port, noDelay: true });
      open.add(socket);
      // Stays on: an error that nobody listens for would end the process.
      socket.on('error', (error) => lost(socket, error));
      socket.once('connect', () => settle(socket, () => resolve(socket)));
      if (next < addresses.length) timer = clock.after(ATTEMPT_DELAY_MS, begin);
    };
    if (signal.aborted) giveUp();
    else {
      signal.addEventListener('abort', giveUp);
      begin();
    }
  });
}

/** The errors of all addresses in one; sorted, so that the order in which they came makes no difference. */
function refusal(errors: readonly Error[]): DialFailed {
  const reasons = [...new Set(errors.map(reasonOf))].sort();
  return new DialFailed('tcp', reasons.join('; '), codeOf(errors[0]!));
}
