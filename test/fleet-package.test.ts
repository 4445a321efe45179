import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { before, test } from 'node:test';
import { startMosquitto } from './parts/mosquitto.ts';
import { PlayedGateway } from './parts/played-gateway.ts';
import { scratch } from './parts/scratch.ts';

const ROOT = resolve(import.meta.dirname, '..');

before(() => {
  if (!existsSync(join(ROOT, 'dist/fleet.mjs'))) execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: ROOT });
});

/** Somebody else's program, with this package installed. */
function program(name: string, text: string): string {
  const dir = scratch();
  mkdirSync(join(dir, 'node_modules/@types'), { recursive: true });
  symlinkSync(ROOT, join(dir, 'node_modules/holdfast'));
  symlinkSync(join(ROOT, 'node_modules/@types/node'), join(dir, 'node_modules/@types/node'));
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(dir, name), text);
  return dir;
}

test('the package is a library: a program imports holdfast/fleet and finds a gateway', async () => {
  const broker = await startMosquitto();
  const gateway = await PlayedGateway.start({ url: broker.url, id: 'line-4' });
  try {
    const dir = program(
      'program.mjs',
      `import { Fleet, FleetError } from 'holdfast/fleet';
       const fleet = await Fleet.connect({ url: '${broker.url}', folder: 'keys' });
       const { auth } = { auth: { x509: { ca: true } } };
       const { state } = await fleet.children.add('line-4', { id: 'panel', status: 'enabled', auth, modules: [] });
       const refusal = await fleet.children.add('nobody', { id: 'x', status: 'enabled', auth, modules: [] }).catch((error) => error);
       const [found] = await fleet.gateways();
       console.log(found.gateway, found.state, state, refusal instanceof FleetError);
       await fleet.close();`,
    );
    // Not execFileSync: the gateway here must go on meanwhile.
    const child = spawn(process.execPath, ['program.mjs'], { cwd: dir });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (said += text.toString()));
    const code = await new Promise((done) => child.once('close', done));
    assert.deepEqual([said, code], ['line-4 online applied true\n', 0]);
  } finally {
    await gateway.end();
    await broker.end();
  }
});

test('its types say what it takes and what it gives', () => {
  const dir = program(
    'program.ts',
    `import { Fleet, type ChildrenOutcome, type GatewayView } from 'holdfast/fleet';
     export async function main(): Promise<GatewayView[]> {
       const fleet = await Fleet.connect({ url: 'mqtts://broker.example', username: 'operator', tls: { ca: '' } });
       const outcome: ChildrenOutcome = await fleet.children.remove('line-4', 'panel', null);
       const pending: number | null = (await fleet.gateway('line-4'))?.backlog.pending ?? null;
       await fleet.onEvent((event, body) => process.stdout.write(event.child + body.length + pending + outcome.version));
       // @ts-expect-error there is no such state
       if (outcome.state === 'perhaps') return [];
       return fleet.gateways();
     }`,
  );
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--skipLibCheck',
    '--types',
    'node',
  ];
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  assert.doesNotThrow(() =>
    execFileSync(tsc, [...options, 'program.ts'], { cwd: dir, encoding: 'utf8', stdio: 'pipe' }),
  );
});
