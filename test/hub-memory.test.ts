import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { newVictim, PASSWORDS, rightToken, TOKENS, type Forgery } from './parts/bad-credentials.ts';
import { DEEDS } from './parts/bad-deeds.ts';
import { PacketClient } from './parts/packet-client.ts';
import { scratch } from './parts/scratch.ts';
import { byPassword, bySas, GATEWAY, HubGateway, portsRefused } from './parts/sdk-gateway.ts';
import { until } from './parts/until.ts';

const skip = await portsRefused();
const ROUNDS = 3;
/** What may be live after the last round more than after the first: a log line kept, a counter. */
const LIVE_BYTES_MAX = 2_000_000;
/** What all of it may leave behind in the process's own memory. One guess at a password takes 16 MiB while it is reckoned. */
const OWN_BYTES_MAX = 40_000_000;

interface Found {
  readonly live: number;
  readonly own: number;
}

/** At SIGUSR2: what is live when all garbage is gone, and what memory of its own the process has before that. */
const LOOK = (file: string) => `
const { renameSync, writeFileSync, readFileSync } = require('node:fs');
require('node:v8').setFlagsFromString('--expose-gc');
const gc = require('node:vm').runInNewContext('gc');
process.on('SIGUSR2', () => {
  const own = Number(/^RssAnon:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))[1]) * 1024;
  gc();
  // What finalizers let go of is gone after the second time.
  setTimeout(() => {
    gc();
    const { heapUsed, external } = process.memoryUsage();
    writeFileSync('${file}.new', JSON.stringify({ live: heapUsed + external, own }));
    renameSync('${file}.new', '${file}');
  }, 50);
});
`;

let addresses = 0;
/** Each from an address of its own, so that none is refused for the sake of one before it. */
function nextAddress(): string {
  addresses++;
  return `127.2.${addresses >> 8}.${addresses & 255}`;
}

test('rounds of bad clients leave nothing behind', { skip }, async (context: TestContext) => {
  const dir = scratch();
  const file = join(dir, 'found.json');
  const gateway = new HubGateway({ dir, timeKnown: true, preload: LOOK(file), hub: ['maxConnectedClients: 1000'] });
  const { address: host, ca } = gateway;
  const [keyed, other, plain, otherPlain] = ['keyed', 'other', 'plain', 'other-plain'].map(newVictim);
  const deeds = DEEDS.map((deed, n) => ({ deed, victim: newVictim(`deed-${n}`) }));

  const found = async (): Promise<Found> => {
    rmSync(file, { force: true });
    gateway.process.process.kill('SIGUSR2');
    await until('the gateway to look at itself', () => existsSync(file));
    return JSON.parse(readFileSync(file, 'utf8')) as Found;
  };
  const client = (version: 4 | 5, tls: Forgery['tls'] | null) => {
    const [port, secure] = tls === null ? [1883, {}] : [8883, { tls: { ca, ...tls } }];
    return new PacketClient({ host, port, localAddress: nextAddress(), version, ...secure });
  };
  const stranger = async ({ tls, ...credentials }: Forgery) => {
    const intruder = client(4, tls ?? {});
    intruder.connect(credentials);
    assert.notEqual(await intruder.admission(), 0, `${credentials.clientId} was let in`);
    await intruder.whenClosed();
  };
  const noise = async () => {
    const from = { host, port: 8883, ca, localAddress: nextAddress() };
    const socket = connectTls({ ...from, checkServerIdentity: () => undefined });
    socket.on('error', () => undefined).resume();
    socket.write(Buffer.alloc(4096, 0xa5));
    await once(socket, 'close');
  };
  const misdeed = async ({ deed, victim }: (typeof deeds)[number]) => {
    const child = client(deed.five === true ? 5 : 4, null);
    child.connect(rightToken(victim));
    assert.equal(await child.admission(), 0, 'its own credentials are good');
    deed.act(child, { id: 'keyed', gateway: GATEWAY, self: victim.id });
    if (deed.verdict === 'cut') await child.whenClosed();
    child.end();
  };
  const round = async () => {
    await Promise.all(Object.values(PASSWORDS).map((forge) => stranger(forge(plain!, otherPlain!))));
    await Promise.all(Object.values(TOKENS).map((forge) => stranger(forge(keyed!, other!))));
    await Promise.all(Array.from({ length: 20 }, noise));
    await Promise.all(deeds.map(misdeed));
  };

  try {
    await gateway.importChildren([
      ...[keyed!, other!, ...deeds.map(({ victim }) => victim)].map(({ id, key }) => ({ id, auth: bySas(key) })),
      ...[plain!, otherPlain!].map(({ id, password }) => ({ id, auth: byPassword(password) })),
    ]);
    await gateway.start();
    const rounds = [await found()];
    for (let n = 0; n < ROUNDS; n++) {
      await round();
      rounds.push(await found());
    }
    const text = (which: keyof Found) => rounds.map((each) => (each[which] / 1e6).toFixed(1)).join(', ');
    context.diagnostic(
      `before, and after each of ${ROUNDS} rounds: live ${text('live')} MB; own memory ${text('own')} MB`,
    );
    const [before, first, last] = [rounds[0]!, rounds[1]!, rounds.at(-1)!];
    assert.ok(last.live - first.live < LIVE_BYTES_MAX, `something is kept: ${text('live')} MB`);
    assert.ok(last.own - before.own < OWN_BYTES_MAX, `memory is not given back: ${text('own')} MB`);
  } finally {
    await gateway.kill();
  }
});
