import { isIP, type Socket } from 'node:net';
import { connect, type ConnectionOptions, type PeerCertificate, type TLSSocket } from 'node:tls';
import { codeOf, DialFailed, GIVEN_UP, reasonOf, type DialDetails } from './dial-failed.ts';
import { faultWhileUncertain, shownBy, type TrustedTime } from './server-trust.ts';
import { tlsFault, type TlsFault } from './tls-fault.ts';
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
    let shown: PeerCertificate[] = [];
    const fail = (why: string, details: DialDetails = {}) => {
      signal.removeEventListener('abort', giveUp);
      line?.destroy();
      socket.destroy();
      reject(new DialFailed('tls', why, details));
    };
    const scene = () => ({ host, shown, ownCa: keys.ca !== undefined, minVersion: keys.minVersion });
    const failBy = (error: Error) => {
      const { code } = codeOf(error);
      const fault = code === undefined ? null : tlsFault(code, scene());
      if (fault === null) fail(reasonOf(error), codeOf(error));
      else fail(fault.what, { ...codeOf(error), advice: fault.advice });
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
      failBy(error as Error);
      return;
    }
    const secured = line;
    signal.addEventListener('abort', giveUp);
    secured.on('error', failBy);
    secured.once('close', () => failBy(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
    // Before Node judges: afterwards the certificates cannot be asked for any more, and words need their dates and names.
    secured.prependOnceListener('secure', () => (shown = shownBy(secured)));
    secured.once('secureConnect', () => {
      const fault: TlsFault | null = uncertain ? faultWhileUncertain(secured, host, keys.ca, time.now()) : null;
      if (fault !== null) {
        fail(fault.what, { advice: fault.advice });
        return;
      }
      signal.removeEventListener('abort', giveUp);
      resolve(secured);
    });
  });
}
