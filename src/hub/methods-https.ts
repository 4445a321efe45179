import type { IncomingMessage, ServerResponse } from 'node:http';
import { mayInvoke } from '../dialects/grants.ts';
import { parseSasToken } from '../dialects/sas-token.ts';
import type { Client, Gatekeeper, Refusal } from './gatekeeper.ts';

/*
 * Methods that a module invokes: `POST /twins/{device}[/modules/{module}]/methods?api-version=..` on the gateway, as the device
 * SDKs call it (azure-iot-device, `ModuleClient.invokeMethod`) and IoT Edge's hub answers it. Who calls is in the header
 * `x-ms-edge-moduleId`, the same token as over MQTT in `Authorization`, or a client certificate.
 */

/** Largest payload, bytes, and largest request around one. */
const PAYLOAD_BYTES_MAX = 128 * 1024;
export const REQUEST_BYTES_MAX = PAYLOAD_BYTES_MAX + 8 * 1024;
/** How long a child may take to answer, seconds (IoT Hub's limits). */
const TIMEOUT_SECS_MIN = 5;
const TIMEOUT_SECS_MAX = 300;
const TIMEOUT_SECS = 30;
/** How long it may be waited for when it is not connected, seconds (IoT Hub's limit); 0: not at all. */
const CONNECT_TIMEOUT_SECS_MAX = 300;
/** Longest name of a method, characters. */
const METHOD_LENGTH_MAX = 128;

const PATH = /^\/twins\/([^/?]{1,400})(?:\/modules\/([^/?]{1,400}))?\/methods\/?(?:\?.*)?$/;

/** A request, its body read. */
export interface MethodRequest {
  readonly method: string | undefined;
  /** Path and query, as in the request line. */
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** Client certificate chain as DER, leaf first; empty without one. */
  readonly certificates: readonly Buffer[];
  readonly address: string;
}

export interface MethodAnswer {
  readonly status: number;
  readonly body: string;
}

/** What is asked of the rest of the gateway. */
export interface MethodServices {
  /** Never rejects. `failed`: the status is the gateway's, which got no answer from the child. */
  invoke(
    client: Client,
    child: string,
    module: string | null,
    method: string,
    body: Buffer,
    responseTimeoutSecs: number,
    /** How long a child that is not there is waited for before that. */
    connectTimeoutSecs: number,
  ): Promise<{ readonly status: number; readonly payload: Buffer; readonly failed?: true }>;
}

export interface MethodsOptions {
  readonly gatekeeper: Pick<Gatekeeper, 'admit'>;
  readonly services: MethodServices;
  /** The hub's name in user names and tokens. */
  readonly hubName: string;
}

const REFUSED: Readonly<Record<Refusal, readonly [status: number, code: string]>> = {
  unavailable: [503, 'ServiceUnavailable'],
  'not authorised': [401, 'IotHubUnauthorizedAccess'],
  'bad client id': [401, 'IotHubUnauthorizedAccess'],
};

/** Answers one request. Never rejects for what a caller did. */
export async function answerMethodRequest(request: MethodRequest, options: MethodsOptions): Promise<MethodAnswer> {
  const [, device, module] = PATH.exec(request.url ?? '') ?? [];
  const child = decoded(device);
  const ofModule = module === undefined ? null : decoded(module);
  if (child === null || (module !== undefined && ofModule === null))
    return failure(404, 'NotFound', 'no such resource');
  if (request.method !== 'POST') return failure(405, 'MethodNotAllowed', 'a method is invoked by POST');
  if (request.body.length > REQUEST_BYTES_MAX)
    return failure(413, 'RequestEntityTooLarge', `a request may have ${REQUEST_BYTES_MAX} bytes`);
  const admission = await options.gatekeeper.admit({
    ...presented(request, options.hubName),
    certificates: request.certificates,
    address: request.address,
  });
  // Why is for the log: who knocks learns nothing.
  if ('refused' in admission) return failure(...REFUSED[admission.refused], 'not let in');
  const { client } = admission;
  // Not 403, which the SDK takes for too many devices.
  if (!mayInvoke(client, child, ofModule))
    return failure(401, 'IotHubUnauthorizedAccess', `no grant to invoke methods of ${child}`);
  const call = parsedCall(request.body);
  if (typeof call === 'string') return failure(400, 'ArgumentInvalid', call);
  if (call.payload.length > PAYLOAD_BYTES_MAX)
    return failure(413, 'RequestEntityTooLarge', `a payload may have ${PAYLOAD_BYTES_MAX} bytes`);
  const { services } = options;
  const { name, timeoutSecs, connectTimeoutSecs } = call;
  const result = await services.invoke(client, child, ofModule, name, call.payload, timeoutSecs, connectTimeoutSecs);
  const payload = result.payload.length === 0 ? 'null' : result.payload.toString('utf8');
  if (result.failed === true) return failure(result.status, codeOf(result.status), errorIn(payload));
  return { status: 200, body: `{"status":${result.status},"payload":${payload}}` };
}

/** The same for Node's HTTP server: reads the body within its limit, and answers. */
export function methodsListener(
  options: MethodsOptions,
  certificatesOf: (request: IncomingMessage) => readonly Buffer[],
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    request.on('data', (piece: Buffer) => {
      bytes += piece.length;
      // What is too much is not kept, and its length tells so.
      if (bytes <= REQUEST_BYTES_MAX + 1) pieces.push(piece);
      else if (pieces.length > 0) {
        pieces.length = 0;
        // The rest of the request is still on its way: nothing else may come over this connection.
        response.shouldKeepAlive = false;
        response.on('finish', () => request.destroy());
        send(response, failure(413, 'RequestEntityTooLarge', `a request may have ${REQUEST_BYTES_MAX} bytes`));
      }
    });
    request.on('end', () => {
      const { method, url, headers } = request;
      const address = request.socket.remoteAddress ?? '';
      const asked = {
        method,
        url,
        headers,
        body: Buffer.concat(pieces),
        certificates: certificatesOf(request),
        address,
      };
      answerMethodRequest(asked, options).then(
        (answer) => send(response, answer),
        () => send(response, failure(500, 'ServerError', 'the gateway failed')),
      );
    });
    // Whoever went away in the middle is not answered.
    request.on('error', () => response.destroy());
  };
}

function send(response: ServerResponse, { status, body }: MethodAnswer): void {
  if (response.destroyed || response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(body);
}

/** Who calls, in the form of an MQTT CONNECT. */
function presented({ headers }: MethodRequest, hubName: string) {
  const token = headers.authorization;
  const named = headers['x-ms-edge-moduleid'];
  // Without the header, whose token it is says who calls.
  const resource = token === undefined ? undefined : parseSasToken(token)?.resource;
  const ofToken = /\/devices\/([^/]+)(?:\/modules\/([^/]+))?$/.exec(resource ?? '');
  const clientId =
    typeof named === 'string' && named !== ''
      ? named
      : [ofToken?.[1], ofToken?.[2]].filter((part) => part !== undefined).join('/');
  return {
    clientId,
    username: `${hubName}/${clientId}/?api-version=2021-04-12`,
    password: token === undefined ? undefined : Buffer.from(token),
  };
}

interface Call {
  readonly name: string;
  /** JSON; empty: none. */
  readonly payload: Buffer;
  readonly timeoutSecs: number;
  readonly connectTimeoutSecs: number;
}

/** `{methodName, payload, responseTimeoutInSeconds, connectTimeoutInSeconds}`; a text when it is none. */
function parsedCall(body: Buffer): Call | string {
  let call: Record<string, unknown> | null;
  try {
    call = JSON.parse(body.toString('utf8')) as Record<string, unknown> | null;
  } catch {
    return 'the request is not JSON';
  }
  const { methodName, payload, responseTimeoutInSeconds: secs = TIMEOUT_SECS } = call ?? {};
  const { connectTimeoutInSeconds: connectSecs = 0 } = call ?? {};
  if (typeof methodName !== 'string' || methodName === '' || methodName.length > METHOD_LENGTH_MAX)
    return `methodName is a text of 1 to ${METHOD_LENGTH_MAX} characters`;
  if (typeof secs !== 'number' || !(secs >= TIMEOUT_SECS_MIN && secs <= TIMEOUT_SECS_MAX))
    return `responseTimeoutInSeconds lies from ${TIMEOUT_SECS_MIN} to ${TIMEOUT_SECS_MAX}`;
  if (typeof connectSecs !== 'number' || !(connectSecs >= 0 && connectSecs <= CONNECT_TIMEOUT_SECS_MAX))
    return `connectTimeoutInSeconds lies from 0 to ${CONNECT_TIMEOUT_SECS_MAX}`;
  return {
    name: methodName,
    payload: payload === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(payload)),
    timeoutSecs: secs,
    connectTimeoutSecs: connectSecs,
  };
}

/** In the form that the SDKs take apart (azure-iot-http-base, `Http.parseErrorBody`). */
function failure(status: number, code: string, message: string): MethodAnswer {
  return { status, body: JSON.stringify({ Message: `ErrorCode:${code};${message.replaceAll(';', ',')}` }) };
}

/** The text of `{"error": text}`, as the gateway says why it failed. */
function errorIn(payload: string): string {
  const { error } = (JSON.parse(payload) ?? {}) as { error?: unknown };
  return typeof error === 'string' ? error : payload;
}

function codeOf(status: number): string {
  if (status === 404) return 'DeviceNotFound';
  if (status === 413) return 'RequestEntityTooLarge';
  return status === 504 ? 'GatewayTimeout' : 'ServerError';
}

function decoded(part: string | undefined): string | null {
  if (part === undefined) return null;
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}
