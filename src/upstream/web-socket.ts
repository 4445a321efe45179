import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocket } from 'ws';
import { codeOf, DialFailed, GIVEN_UP, reasonOf } from './dial-failed.ts';

/** Largest WebSocket message that the broker may send, bytes; it may hold many MQTT packets (MQTT 5, section 6). */
const MESSAGE_BYTES_MAX = 4 * 2 ** 20;

/**
 * Upgrades a connection, TLS and all, to a WebSocket of MQTT. Resolves with its bytes as a stream: a write that is not taken
 * yet and a read that nobody wants hold the other side back. Rejects with {@link DialFailed}; the socket is gone then.
 */
export function upgrade(socket: Socket, url: string, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const webSocket = new WebSocket(url, ['mqtt'], {
      createConnection: () => socket,
      // It costs memory for each connection, and most of what passes is small.
      perMessageDeflate: false,
      maxPayload: MESSAGE_BYTES_MAX,
    });
    const fail = (why: string, details: { code?: string; status?: number } = {}) => {
      signal.removeEventListener('abort', giveUp);
      socket.destroy();
      reject(new DialFailed('websocket', why, details));
    };
    const giveUp = () => {
      webSocket.terminate();
      fail(GIVEN_UP);
    };
    webSocket.once('unexpected-response', (request, { statusCode: status = 0 }) => {
      request.destroy();
      fail(`the WebSocket upgrade is answered with ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd(), { status });
    });
    webSocket.on('error', (error) => fail(`no WebSocket: ${reasonOf(error)}`, codeOf(error)));
    webSocket.once('open', () => {
      signal.removeEventListener('abort', giveUp);
      const stream = createWebSocketStream(webSocket);
      // It would wait for a reader to take notice.
      webSocket.once('close', () => stream.destroy());
      resolve(stream);
    });
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp);
  });
}
