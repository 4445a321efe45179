import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { isSignedBy, parseSasToken, signSasToken } from '../src/dialects/sas-token.ts';
import type { Admission, Presented } from '../src/hub/gatekeeper.ts';
import { methodsListener, REQUEST_BYTES_MAX, type MethodServices } from '../src/hub/methods-https.ts';

const HUB = 'myhub.azure-devices.net';
const KEY = Buffer.from('the key of module m');
const TOKEN = signSasToken(`${HUB}/devices/d/modules/m`, KEY, 4_000_000_000);

/** Lets in module m of device d with its key, and knows one reason against another. */
function admit({ clientId, username, password }: Presented): Promise<Admission> {
  if (clientId === 'early/m') return Promise.resolve({ refused: 'unavailable', why: 'starting' });
  const token = parseSasToken(password?.toString() ?? '');
  const mine = clientId === 'd/m' && username?.startsWith(`${HUB}/d/m/`) === true;
  if (!mine || token === null || !isSignedBy(token, KEY))
    return Promise.resolve({ refused: 'not authorised', why: 'the key of m is secret-in-the-log' });
  const grants = { invoke: ['press-1', 'cam/lens'], send: [], observe: [] };
  return Promise.resolve({ client: { child: 'd', module: 'm', dialect: 'iothub', grants, expiresAt: null } });
}

type Invoked = [child: string, module: string | null, method: string, body: string, secs: number, connectSecs: number];
const invoked: Invoked[] = [];
const services: MethodServices = {
  invoke: (_, child, module, method, body, timeoutSecs, connectSecs) => {
    invoked.push([child, module, method, body.toString(), timeoutSecs, connectSecs]);
    const error = (text: string) => Buffer.from(JSON.stringify({ error: text }));
    if (method === 'absent') return Promise.resolve({ status: 404, payload: error('not; connected'), failed: true });
    if (method === 'slow') return Promise.resolve({ status: 504, payload: error('no answer'), failed: true });
    if (method === 'own404') return Promise.resolve({ status: 404, payload: Buffer.from('"no such part"') });
    return Promise.resolve({ status: 200, payload: method === 'silent' ? Buffer.alloc(0) : body });
  },
};

const server = createServer(methodsListener({ gatekeeper: { admit }, services, hubName: HUB }, () => []));
before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
after(() => server.close());

interface Asked {
  readonly path?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly method?: string;
}

function call({ path = '/twins/press-1/methods', body = { methodName: 'go' }, headers = {}, method = 'POST' }: Asked) {
  const sent = typeof body === 'string' ? body : JSON.stringify(body);
  const { port } = server.address() as AddressInfo;
  const all = { authorization: TOKEN, 'x-ms-edge-moduleId': 'd/m', 'content-type': 'application/json', ...headers };
  return new Promise<{ status: number; answer: Record<string, unknown> }>((resolve, reject) => {
    const asking = httpRequest({ port, path, method, headers: all }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('end', () => {
        const answer = JSON.parse(Buffer.concat(pieces).toString()) as Record<string, unknown>;
        resolve({ status: response.statusCode ?? 0, answer });
      });
    });
    asking.on('error', reject);
    asking.end(sent);
  });
}

describe('a module invokes a method over HTTPS', () => {
  test('of a device, with its payload and its timeout; the answer is status and payload', async () => {
    const body = { methodName: 'go', payload: { a: [1] }, responseTimeoutInSeconds: 7, connectTimeoutInSeconds: 3 };
    const { status, answer } = await call({ path: '/twins/press-1/methods?api-version=2018-06-30', body });
    assert.deepEqual([status, answer], [200, { status: 200, payload: { a: [1] } }]);
    assert.deepEqual(invoked.at(-1), ['press-1', null, 'go', '{"a":[1]}', 7, 3]);
  });

  test('of another module; without a payload, and with 30 s when it does not say', async () => {
    const { status, answer } = await call({ path: '/twins/cam/modules/lens/methods', body: { methodName: 'silent' } });
    assert.deepEqual([status, answer], [200, { status: 200, payload: null }]);
    assert.deepEqual(invoked.at(-1), ['cam', 'lens', 'silent', '', 30, 0]);
  });

  test('of its own device without a grant, and says who it is by its token alone', async () => {
    const { status } = await call({ path: '/twins/d/methods', headers: { 'x-ms-edge-moduleId': '' } });
    assert.equal(status, 200);
  });

  test('what the child answers is no error of HTTP; that it does not answer is', async () => {
    const own = await call({ body: { methodName: 'own404' } });
    assert.deepEqual([own.status, own.answer], [200, { status: 404, payload: 'no such part' }]);
    const absent = await call({ body: { methodName: 'absent' } });
    assert.deepEqual([absent.status, absent.answer], [404, { Message: 'ErrorCode:DeviceNotFound;not, connected' }]);
    const slow = await call({ body: { methodName: 'slow' } });
    assert.deepEqual([slow.status, slow.answer], [504, { Message: 'ErrorCode:GatewayTimeout;no answer' }]);
  });

  const REFUSED: readonly (readonly [what: string, asked: Asked, status: number])[] = [
    ['a wrong key', { headers: { authorization: signSasToken(HUB, Buffer.from('x'), 4_000_000_000) } }, 401],
    ['no token', { headers: { authorization: '' } }, 401],
    ["another module's name", { headers: { 'x-ms-edge-moduleId': 'd/n' } }, 401],
    ['a gateway that is starting', { headers: { 'x-ms-edge-moduleId': 'early/m' } }, 503],
    ['no grant', { path: '/twins/press-2/methods' }, 401],
    ['no grant for another module', { path: '/twins/cam/modules/body/methods' }, 401],
    ['its own methods', { path: '/twins/d/modules/m/methods' }, 401],
    ['GET', { method: 'GET', body: '' }, 405],
    ['another path', { path: '/twins/press-1' }, 404],
    ['one that is not percent-encoded', { path: '/twins/%zz/methods' }, 404],
    ['no JSON', { body: '{' }, 400],
    ['null', { body: 'null' }, 400],
    ['no name', { body: { payload: 1 } }, 400],
    ['a long name', { body: { methodName: 'n'.repeat(129) } }, 400],
    ['4 s', { body: { methodName: 'go', responseTimeoutInSeconds: 4 } }, 400],
    ['301 s', { body: { methodName: 'go', responseTimeoutInSeconds: 301 } }, 400],
    ['301 s until it connects', { body: { methodName: 'go', connectTimeoutInSeconds: 301 } }, 400],
    ['no number of seconds', { body: { methodName: 'go', connectTimeoutInSeconds: '5' } }, 400],
    ['a payload of more than 128 KB', { body: { methodName: 'go', payload: 'x'.repeat(128 * 1024 - 1) } }, 413],
    ['a request far too large', { body: 'x'.repeat(REQUEST_BYTES_MAX * 3) }, 413],
  ];
  for (const [what, asked, status] of REFUSED) {
    test(`${what} is ${status}, nothing is invoked, and nothing is given away`, async () => {
      const { length } = invoked;
      const found = await call(asked);
      assert.equal(found.status, status);
      assert.match(String(found.answer['Message']), /^ErrorCode:\w+;[^;]+$/);
      assert.doesNotMatch(JSON.stringify(found.answer), /secret/);
      assert.equal(invoked.length, length);
    });
  }

  test('128 KB just fit', async () => {
    const { status } = await call({ body: { methodName: 'go', payload: 'x'.repeat(128 * 1024 - 2) } });
    assert.equal(status, 200);
  });
});
