import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { Errands } from '../src/above/errands.ts';
import { Liaison, type Line, type RegistryDesk } from '../src/above/liaison.ts';
import { Registrar } from '../src/above/registrar.ts';
import { registryTopic } from '../src/dialects/holdfast.ts';
import { holdfastUpstream } from '../src/dialects/holdfast-upstream.ts';
import { STAGES } from '../src/dialects/upstream-dialect.ts';
import { Twins } from '../src/twins/twins.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { MemoryStore } from './parts/memory-store.ts';
import { RegistryRig } from './parts/registry-rig.ts';
import { scratch } from './parts/scratch.ts';
import { documentOf, gateway, sasChild, sealed } from './parts/sealed-documents.ts';
import { until } from './parts/until.ts';

/** A connection on which everything is acknowledged: what was reported over it. */
class Above implements Line {
  readonly reported: string[] = [];

  publish({ topic }: Parameters<Line['publish']>[0], done: (reason: number) => void = () => undefined): void {
    const [, , , child, twin] = topic.split('/');
    if (twin === 'twin') this.reported.push(child!);
    done(0);
  }

  subscribe(): Promise<void> {
    return Promise.resolve();
  }
}

function rig(registry: RegistryDesk | null = null, clock = new ManualClock()) {
  const log = pino({ enabled: false });
  const nothing = () => Promise.resolve();
  const twins = new Twins({ store: new MemoryStore(), changed: (change) => liaison.twinPost.changed(change) });
  /** For each connection, whether those below were told that it was kept. */
  const below: boolean[] = [];
  const liaison: Liaison = new Liaison({
    gateway: 'line-4',
    version: '1',
    dialect: holdfastUpstream('line-4'),
    open: () => Promise.resolve({ twins, registry, key: null }),
    settings: null,
    isOurs: () => true,
    errands: new Errands({
      gateway: 'line-4',
      clock,
      log,
      invoke: () => Promise.resolve({ status: 200, payload: null }),
      takesMessages: () => false,
      isWired: () => false,
      queue: nothing,
      accept: nothing,
    }),
    below: {
      subscriptions: () => [],
      connected: (_, kept) => void below.push(kept),
      lost: () => undefined,
      receive: () => Promise.resolve(null),
    },
    clock,
    log,
  });
  /** A connection that holds until the broker has answered for all stages. */
  const connection = async (kept: boolean): Promise<readonly string[]> => {
    const above = new Above();
    liaison.connected(above, kept);
    for (const stage of STAGES) {
      liaison.asked(stage);
      await settle();
    }
    liaison.lost();
    return above.reported.toSorted();
  };
  return { twins, liaison, below, connection };
}

test('that the broker has lost our session is not forgotten when the connection ends before anything was said', async () => {
  const { twins, liaison, below, connection } = rig();
  await twins.report('fan', null, Buffer.from('{"on":true}'));
  assert.deepEqual(await connection(false), ['fan', 'line-4']);
  assert.deepEqual(await connection(true), []);
  // The broker makes us a session, and the connection ends before it has answered our first SUBSCRIBE.
  liaison.connected(new Above(), false);
  liaison.lost();
  // That session is there now. What it should have brought is not.
  assert.deepEqual(await connection(true), ['fan', 'line-4']);
  assert.deepEqual(await connection(true), []);
  assert.deepEqual(below, [false, true, false, true]);
});

test('a registry document that the medium does not take is not acknowledged, and tried again; but not after a later one', async () => {
  const books = await new RegistryRig(scratch()).open();
  const { clock, logger: log, state } = books;
  const key = { ...gateway, kid: gateway.public.kid };
  const registrar = new Registrar({ registry: books.enrolment.registry, key, trust: () => null, clock, log });
  const { liaison } = rig(registrar, clock);
  const acknowledged: number[] = [];
  const send = async (version: number) => {
    const body = await sealed(documentOf(version, [sasChild(`child-${version}`)]));
    const topic = registryTopic('line-4');
    liaison.heard({ topic, body, qos: 1, retain: true }, () => void acknowledged.push(version));
  };
  const putBytes = state.putBytes.bind(state);
  state.putBytes = () => Promise.reject(new Error('the medium takes nothing'));
  liaison.connected(new Above(), true);
  await send(1);
  await until('word that it cannot be kept', () => typeof registrar.report()?.error === 'string');
  assert.match(registrar.report()!.error!, /^it cannot be kept/);
  assert.deepEqual(acknowledged, []);
  state.putBytes = putBytes;
  await clock.flow(5000);
  await until('its acknowledgement', () => acknowledged.length === 1);
  assert.deepEqual([registrar.report()?.version, registrar.report()?.error], [1, null]);

  state.putBytes = () => Promise.reject(new Error('the medium takes nothing'));
  await send(2);
  await until('word of that', () => typeof registrar.report()?.error === 'string');
  state.putBytes = putBytes;
  await send(3);
  await until('the later one', () => registrar.report()?.version === 3);
  await clock.flow(5000);
  await until('both acknowledgements', () => acknowledged.length === 3);
  assert.deepEqual([registrar.report()?.version, registrar.report()?.error], [3, null]);
  await books.close();
});

test('a command for the gateway, or for what it reads itself, does not wait until it is known who may connect', async () => {
  const invoked: string[] = [];
  const errands = new Errands({
    gateway: 'line-4',
    clock: new ManualClock(),
    log: pino({ enabled: false }),
    invoke: (child) => {
      invoked.push(child);
      return Promise.resolve({ status: 200, payload: null });
    },
    takesMessages: () => {
      throw new Error('it is not known who may connect');
    },
    isWired: (child) => child === 'press',
    queue: () => Promise.resolve(),
    accept: () => Promise.resolve(),
  });
  const command = (child: string) => {
    const body = Buffer.from('{"command":"reset"}');
    return errands.message({ kind: 'command', child, module: null, body, properties: {} });
  };
  await command('line-4');
  await command('press');
  assert.deepEqual(invoked, ['line-4', 'press']);
  await assert.rejects(command('panel'), /not known who may connect/);
});
