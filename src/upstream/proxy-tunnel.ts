import { request, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { codeOf, DialFailed, GIVEN_UP, reasonOf } from './dial-failed.ts';
import { placeOf, type ProxyWay } from './way-out.ts';

/** Largest answer of a proxy to CONNECT, bytes. */
const HEADER_BYTES_MAX = 16_384;
/** Names of errors of the HTTP parser begin so. */
const PARSE_ERROR = /^HPE_/;

/**
 * Asks the proxy at the other end of `socket` for a tunnel to `target` (a host and a port), with Basic authentication when
 * its address names a user (RFC 7617). Resolves with the same socket. Rejects with {@link DialFailed}, which names the proxy
 * and the status that it gave; the socket is gone then.
 */
export function tunnel(socket: Socket, proxy: ProxyWay, target: string, signal: AbortSignal): Promise<Socket> {
  const { authority } = placeOf(proxy.url);
  const credentials = credentialsOf(proxy);
  return new Promise((resolve, reject) => {
    const ask = request({
      method: 'CONNECT',
      path: target,
      createConnection: () => socket,
      maxHeaderSize: HEADER_BYTES_MAX,
      setHost: false,
      headers: { Host: target, ...(credentials && { 'Proxy-Authorization': basic(credentials) }) },
    });
    const fail = (why: string, details: { code?: string; status?: number } = {}) => {
      signal.removeEventListener('abort', giveUp);
      ask.destroy();
      socket.destroy();
      reject(new DialFailed('proxy', `proxy ${authority}: ${why}`, details));
    };
    const giveUp = () => fail(GIVEN_UP);
    if (signal.aborted) {
      giveUp();
      return;
    }
    signal.addEventListener('abort', giveUp);
    ask.on('error', (error) => {
      const code = codeOf(error);
      if (code.code !== undefined && PARSE_ERROR.test(code.code)) fail('what it answers is not HTTP', code);
      else if (code.code === 'ECONNRESET') fail('it closed the connection without an answer', code);
      else fail(reasonOf(error), code);
    });
    ask.once('connect', ({ statusCode: status = 0 }, _, head: Buffer) => {
      if (status < 200 || status > 299) {
        fail(`it answers ${status} ${STATUS_CODES[status] ?? ''}${hint(status, credentials)}`.trimEnd(), { status });
        return;
      }
      signal.removeEventListener('abort', giveUp);
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    ask.end();
  });
}

interface Named {
  readonly user: string;
  readonly password: string;
}

function credentialsOf({ url, password }: ProxyWay): Named | null {
  const { username } = new URL(url);
  return username === '' ? null : { user: decodeURIComponent(username), password: password ?? '' };
}

function basic({ user, password }: Named): string {
  return `Basic ${Buffer.from(`${user}:${password}`, 'utf8').toString('base64')}`;
}

function hint(status: number, credentials: Named | null): string {
  if (status !== 407) return '';
  return credentials === null ? ' (it wants a user name)' : ` (it does not take user ${credentials.user})`;
}
