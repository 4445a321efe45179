import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { GatewayStatus } from '../src/health/status.ts';
import { asked } from './parts/asked.ts';
import { Authority } from './parts/certificates.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto, type Mosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { until } from './parts/until.ts';

const dir = scratch();
const authority = new Authority(dir);
const stranger = new Authority(dir, 'stranger');

/** A gateway with one sensor, whose upstream has these keys. */
function gateway(upstream: string): Promise<GatewayProcess> {
  const own = scratch();
  const yaml = `
gateway: { id: line-4, profile: simulated, dataDir: ${own}/data }
upstream:
  reconnect: { minSecs: 0.05, maxSecs: 0.1 }
${upstream.replaceAll(/^/gm, '  ')}
children:
  - { id: press, simulated: { sendIntervalMs: 20, messageCount: -1 } }
`;
  return startGateway({ dir: own, yaml });
}

async function connects(upstream: string): Promise<void> {
  const process = await gateway(upstream);
  try {
    await process.waitForLog(/"connected to mqtts?:/);
  } finally {
    assert.equal(await process.stop(), 0);
  }
}

/** It says why, once, and goes on trying and storing. */
async function refuses(upstream: string, why: RegExp): Promise<void> {
  const process = await gateway(upstream);
  try {
    const line = JSON.parse(await process.waitForLog(/cannot connect/)) as { msg: string; level: number };
    assert.match(line.msg, why);
    assert.match(line.msg, /messages are kept/);
    assert.equal(line.level, 40);
    const attempts = async () => (await asked<GatewayStatus>(process.config, 'status')).upstream!.attempts;
    await until('a few more attempts', async () => (await attempts()) > 5);
    assert.equal(
      process.messages().filter((msg) => msg.includes('cannot connect')).length,
      1,
      process.messages().join('\n'),
    );
  } finally {
    assert.equal(await process.stop(), 0);
  }
}

describe('TLS', () => {
  const brokers: Mosquitto[] = [];
  let good: Mosquitto;
  const broker = async (names: string, days: number, ...config: string[]) => {
    const { cert, key } = authority.issue('broker', names, days);
    const mosquitto = await startMosquitto({
      config: [`cafile ${authority.ca}`, `certfile ${cert}`, `keyfile ${key}`, ...config],
    });
    brokers.push(mosquitto);
    return mosquitto;
  };
  before(async () => {
    good = await broker('IP:127.0.0.1,DNS:localhost', 1);
  });
  after(async () => {
    for (const mosquitto of brokers) await mosquitto.end();
  });

  test('the right CA', () => connects(`url: mqtts://127.0.0.1:${good.port}\nca: ${authority.ca}`));
  test('the right CA, by name', () => connects(`url: mqtts://localhost:${good.port}\nca: ${authority.ca}`));
  test('another CA', () =>
    refuses(
      `url: mqtts://127.0.0.1:${good.port}\nca: ${stranger.ca}`,
      /the authority behind its certificate, Test ca, is not among those in upstream\.ca \(SELF_SIGNED_CERT_IN_CHAIN\); name the certificate/,
    ));
  test('no CA: those that Node brings do not know it', () =>
    refuses(
      `url: mqtts://127.0.0.1:${good.port}`,
      /Test ca, is not one that Node\.js knows \(SELF_SIGNED_CERT_IN_CHAIN/,
    ));
  test('an expired certificate', async () => {
    const mosquitto = await broker('IP:127.0.0.1', -1);
    await refuses(
      `url: mqtts://127.0.0.1:${mosquitto.port}\nca: ${authority.ca}`,
      /its certificate ended on 20\d\d-\d\d-\d\d \(CERT_HAS_EXPIRED\); correct the clock/,
    );
  });
  test("another host's certificate", async () => {
    const mosquitto = await broker('DNS:other.example', 1);
    await refuses(
      `url: mqtts://127.0.0.1:${mosquitto.port}\nca: ${authority.ca}`,
      /its certificate is not for 127\.0\.0\.1, but for other\.example \(ERR_TLS_CERT_ALTNAME_INVALID\); use the name/,
    );
  });
  test('a client certificate: with it, without it, and one of a stranger', async () => {
    const mosquitto = await broker('IP:127.0.0.1', 1, 'require_certificate true', 'use_identity_as_username true');
    const url = `url: mqtts://127.0.0.1:${mosquitto.port}\nca: ${authority.ca}`;
    const own = authority.issue('line-4', 'DNS:line-4');
    await connects(`${url}\nclientCert: ${own.cert}\nclientKey: ${own.key}`);
    await refuses(
      url,
      /wants a client certificate, and we show none \(.*CERTIFICATE_REQUIRED\); name one .*upstream\.clientCert/,
    );
    const other = stranger.issue('line-4', 'DNS:line-4');
    await refuses(
      `${url}\nclientCert: ${other.cert}\nclientKey: ${other.key}`,
      /does not trust who signed our client certificate|does not take our client certificate/,
    );
    const mixed = `${url}\nclientCert: ${own.cert}\nclientKey: ${other.key}`;
    await refuses(mixed, /line-4-\d\.key is not the key of .*line-4-\d\.pem; name the two that belong together/);
  });
  test('TLS spoken to a broker without it', async () => {
    const plain = await startMosquitto();
    brokers.push(plain);
    await refuses(
      `url: mqtts://127.0.0.1:${plain.port}\nca: ${authority.ca}`,
      /in the middle of the TLS handshake|is not TLS/,
    );
  });
  test('a file without a certificate in it in place of the CA', async () => {
    const { key } = authority.issue('some', 'DNS:some');
    await refuses(
      `url: mqtts://127.0.0.1:${good.port}\nca: ${key}`,
      /some-\d\.key \(upstream\.ca\) holds no certificate \(PEM\), but a private key; name a file/,
    );
  });
  test('no TLS spoken to a broker with it', () => refuses(`url: mqtt://127.0.0.1:${good.port}`, /./));
});

describe('user name and password', () => {
  let mosquitto: Mosquitto;
  before(async () => {
    const file = join(dir, 'passwords');
    writeFileSync(file, '');
    execFileSync('mosquitto_passwd', ['-b', file, 'line-4', 'open sesame'], { stdio: 'pipe' });
    mosquitto = await startMosquitto({ anonymous: false, config: [`password_file ${file}`] });
    writeFileSync(join(dir, 'right'), 'open sesame\n');
    writeFileSync(join(dir, 'wrong'), 'open barley\n');
  });
  after(() => mosquitto.end());

  for (const protocol of ['auto', '3.1.1']) {
    const url = () => `url: ${mosquitto.url}\nprotocol: "${protocol}"`;
    test(`right, from a file (${protocol})`, () => connects(`${url()}\nusername: line-4\npasswordFile: ${dir}/right`));
    test(`wrong (${protocol})`, () =>
      refuses(
        `${url()}\nusername: line-4\npasswordFile: ${dir}/wrong`,
        /not authori[sz]ed|bad user ?name or password/i,
      ));
    test(`none (${protocol})`, () => refuses(url(), /not authori[sz]ed/i));
  }

  test('a password that was put right is taken up without a restart', async () => {
    const file = join(dir, 'changing');
    writeFileSync(file, 'open barley\n');
    const process = await gateway(`url: ${mosquitto.url}\nusername: line-4\npasswordFile: ${file}`);
    await process.waitForLog(/cannot connect/);
    writeFileSync(file, 'open sesame\n');
    await process.waitForLog(/"connected to/);
    assert.equal(await process.stop(), 0);
    assert.ok(
      !process.log.some((line) => line.includes('sesame') || line.includes('barley')),
      'a password is in the log',
    );
  });
});
