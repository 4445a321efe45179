import { BUILT_AT } from '../config/version.ts';
import { sessionRecords } from '../hub/sessions.ts';
import { carryOut, type Order } from '../registry/desk.ts';
import { Enrolment } from '../registry/enrolment.ts';
import { RegistryRefusal } from '../registry/registry.ts';
import { SealError } from '../registry/seal-key.ts';
import type { RemovedListener } from '../registry/sync.ts';
import { makeFolder } from '../spool/late-environment.ts';
import { State } from '../store/state.ts';
import { Twins } from '../twins/twins.ts';
import type { Configured } from './configured.ts';
import { askOne } from './control-client.ts';
import { CliError } from './output.ts';
import { gatewayRuns } from './spool-source.ts';
import { whileStopped } from './stopped-gateway.ts';

/** A slow card takes its time, ms. */
const ORDER_MS_MAX = 60_000;

/** Gives one order to whoever keeps the registry, and resolves with the answer. */
export type Desk = <Answer>(order: Order) => Promise<Answer>;

/**
 * Works at the registry: of the gateway that runs, else in its files; it need not have run yet. Rejects with a CliError that
 * says what cannot be done.
 */
export async function atDesk<T>(where: Configured, work: (desk: Desk) => Promise<T>): Promise<T> {
  if (await gatewayRuns(where)) {
    return work((order) => askOne(where, 'enrolment', { order }, { silenceMsMax: ORDER_MS_MAX }));
  }
  return withEnrolment(where, (enrolment) => {
    // In a gateway that runs the hub sees to it.
    const gone: Parameters<RemovedListener>[] = [];
    enrolment.registry.onRemoved((...removed) => gone.push(removed));
    return work(async <Answer>(order: Order) => {
      const answer = (await carryOut(order, enrolment)) as Answer;
      for (const [child, module] of gone.splice(0)) await forget(enrolment, child, module);
      return answer;
    });
  });
}

async function forget(enrolment: Enrolment, child: string, module: string | null): Promise<void> {
  await twinsIn(enrolment).forget(child, module);
  const { store } = enrolment;
  await store.put(sessionRecords(store, child, module).map((name) => [name, null]));
}

/** The twins that a gateway keeps that does not run: nobody hears of what changes. */
export function twinsIn({ store }: Enrolment): Twins {
  return new Twins({ store, changed: () => undefined });
}

/** Works with what a gateway that does not run keeps of children. Rejects with a CliError when it cannot be opened. */
export async function withEnrolment<T>(where: Configured, work: (enrolment: Enrolment) => Promise<T>): Promise<T> {
  const { dataDir, config } = where;
  makeFolder(dataDir);
  return whileStopped(where, async ({ clock, log }) => {
    const state = new State(`${dataDir}/state`);
    try {
      const enrolment = await Enrolment.open({ config, medium: state, clock, log, builtAt: BUILT_AT });
      try {
        return await work(enrolment);
      } finally {
        await enrolment.stop();
      }
    } catch (error) {
      if (error instanceof RegistryRefusal || error instanceof SealError) throw new CliError(error.message);
      throw error;
    } finally {
      await state.close();
    }
  });
}
