import { isIP, type Socket } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { codeOf, DialFailed, GIVEN_UP, reasonOf } from './dial-failed.ts';
import { faultWhileUncertain, type TrustedTime } from './server-trust.ts';
import type { TlsKeys } from './way-out.ts';

/** What a TLS connection to `host` over `socket` is made with: SNI for a name, none for an address (RFC 6066, section 3). */
export function tlsOptions(socket: Socket, host: string, { minVersion, ...keys }: TlsKeys): ConnectionOptions {
  return {
    socket,
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...keys,
    minVersion: minVersion === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
  };
}

/**
 * Speaks TLS over a connection with `host`, which must show a certificate for that name. While `time` is not known its dates
 * are judged by what is certain of the time (see {@link faultWhileUncertain}); nothing is sent before. Rejects with
 * {@link DialFailed}; the socket is gone then.
 */
export function secure(
  socket: Socket,
  host: string,
  keys: TlsKeys,
  time: TrustedTime | null,
  signal: AbortSignal,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const uncertain = time !== null && !time.known;
    const fail = (why: string, details: { code?: string } = {}) => {
      signal.removeEventListener('abort', giveUp);
      line?.destroy();
      socket.destroy();
      reject(new DialFailed('tls', why, details));
    };
    const giveUp = () => fail(GIVEN_UP);
    let line: TLSSocket | null = null;
    if (signal.aborted) {
      giveUp();
      return;
    }
    try {
      line = connect({ ...tlsOptions(socket, host, keys), rejectUnauthorized: !uncertain });
    } catch (error) {
      // A key that is none, or that does not belong to its certificate.
      fail(reasonOf(error as Error), codeOf(error as Error));
      return;
    }
    const secured = line;
    signal.addEventListener('abort', giveUp);
    secured.on('error', (error) => fail(reasonOf(error), codeOf(error)));
    secured.once('close', () => fail('the connection was closed in the middle of the TLS handshake'));
    secured.once('secureConnect', () => {
      const fault = uncertain ? faultWhileUncertain(secured, host, keys.ca, time.now()) : null;
      if (fault !== null) {
        fail(fault);
        return;
      }
      signal.removeEventListener('abort', giveUp);
      resolve(secured);
    });
  });
}
