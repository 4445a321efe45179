import type { Logger } from 'pino';
import type { Clock } from '../../src/clock/clock.ts';
import type { Order } from '../../src/commands/orders.ts';
import { ModulesSchema } from '../../src/config/modules.ts';
import { namedRoutes, RoutesSchema } from '../../src/config/routes.ts';
import type { Stored } from '../../src/message/message.ts';
import { rfc3339 } from '../../src/dialects/holdfast.ts';
import { Router } from '../../src/router/router.ts';
import { Modules } from '../../src/rules/modules.ts';
import type { Spool } from '../../src/spool/spool.ts';
import { printBody } from '../../src/query/body-json.ts';
import type { Fields } from '../../src/query/value.ts';
import { trialModules, trialRoutes } from './rules-trial.ts';

/** The trial's modules and routes on a spool, as a gateway connects them. */
export class RulesOnSpool {
  readonly modules: Modules;
  readonly #router: Router;

  private constructor(spool: Spool, clock: Clock, log: Logger, order: (order: Order) => void) {
    const router = new Router({
      gateway: 'line-4',
      routes: namedRoutes(RoutesSchema.parse(trialRoutes())),
      destinations: {
        upstream: spool,
        modules: (message, inputs) => this.modules.feed(message, inputs),
        child: (child) => {
          throw new Error(`no route leads to ${child}`);
        },
        kept: (senderWaits) => spool.kept(senderWaits),
      },
    });
    this.#router = router;
    this.modules = new Modules({
      modules: ModulesSchema.parse(trialModules('press-1')),
      clock,
      log,
      quotaBytes: () => spool.snapshot().quotaBytes,
      // Refused only when the spool is full or closed: then it is missed where outputs are counted.
      put: (out) => void router.moduleOutput(out, false).catch(() => undefined),
      order,
      touch: () => spool.touch(false),
    });
  }

  /** They go on where the last run was. */
  static async start(spool: Spool, clock: Clock, log: Logger, order: (order: Order) => void): Promise<RulesOnSpool> {
    const rules = new RulesOnSpool(spool, clock, log, order);
    const records = spool.companionRecords();
    spool.accompany(rules.modules);
    await rules.modules.start(records);
    return rules;
  }

  /** A reading of the child; resolves when it is durable. */
  read(fields: Fields, senderWaits: boolean): Promise<void> {
    const content = { contentType: 'application/json', contentEncoding: 'utf-8' };
    return this.#router.reading('press-1', { body: Buffer.from(printBody(fields)), ...content }, senderWaits);
  }
}

/** A message as it arrives above. */
export interface Above {
  /** Epoch, lane and number. */
  readonly name: string;
  /** Null: a reading. */
  readonly module: string | null;
  readonly time: string;
  readonly body: string;
  /** When it was accepted, ms since 1970. */
  readonly at: number;
}

export function above({ epoch, lane, seq, message }: Stored): Above {
  return {
    name: `${epoch} ${lane} ${seq}`,
    module: message.source.module ?? null,
    time: rfc3339(message.eventTime ?? 0),
    body: message.body.toString(),
    at: message.acceptedAt.wall,
  };
}
