import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { lookAtSpool } from '../src/spool/files.ts';
import { verify } from '../src/spool/inspection.ts';
import { BlockStack, dropCaches, noBlockStack } from './parts/block-stack.ts';
import { startGateway, type GatewayProcess } from './parts/gateway-process.ts';
import { startMosquitto } from './parts/mosquitto.ts';
import { scratch } from './parts/scratch.ts';
import { gatewayYaml, keepRunning, seenStatus } from './parts/supervised-gateway.ts';
import { until } from './parts/until.ts';
import { startWatcher } from './parts/watcher.ts';

const MIB = 2 ** 20;
/** The file's first pages: LMDB's two meta pages, without which it cannot be opened at all. */
const META_PAGES = 2;
const BACKLOG = 1500;
/** Of the two sensors, as {@link gatewayYaml} has them. */
const READINGS_A_SECOND = 500;

/** Which of the data file's pages, of so many in use, cannot be read any more. */
const places: Readonly<Record<string, (page: number, used: number) => boolean>> = {
  'in the middle of what waits': (page, used) => page > used * 0.4 && page < used * 0.6,
  'where the file begins': (page) => page < META_PAGES,
  ...(process.env['HOLDFAST_TEST_LONG'] === '1' && {
    'in every second page behind the first two': (page) => page >= META_PAGES && page % 2 === 0,
    'in every page behind the first two': (page) => page >= META_PAGES,
  }),
};

describe('a card that cannot be read', { skip: noBlockStack() }, () => {
  for (const [where, bad] of Object.entries(places)) {
    test(`${where}: the gateway is back within five starts, says what was lost, and goes on`, async (context) => {
      const stack = await BlockStack.start({ bytes: 96 * MIB });
      const broker = await startMosquitto();
      const watcher = await startWatcher({ url: broker.url, qos: 0 });
      const dir = scratch();
      const dataDir = join(stack.dir, 'data');
      let gateway: GatewayProcess | null = null;
      try {
        // A backlog that was counted at a stop, then a life that ends as with a power cut.
        const away = gatewayYaml({ dataDir, everyMs: 1 });
        gateway = await startGateway({ dir, yaml: away });
        await until('a backlog', async () => (await seenStatus(gateway!.config)).ledger.pending >= BACKLOG);
        assert.equal(await gateway.stop(), 0);
        const counted = await lookAtSpool(dataDir, (_, books) => books.ledger.accepted);
        gateway = await startGateway({ dir, yaml: away });
        await gateway.kill();
        // Behind what is in use the file is filled up with zeros, which nobody reads.
        const used = await lookAtSpool(dataDir, (_, __, environment) => environment.usedPages());
        dropCaches();
        const pages = stack.sectorsOf(join(dataDir, 'spool/data.mdb')).slice(0, used);
        const sectors = pages.filter((_, page) => bad(page, used));
        await stack.fail({ on: 'read', sectors });

        const kept = await keepRunning({ dir, yaml: gatewayYaml({ dataDir, url: broker.url }) });
        gateway = kept.gateway;
        // The oldest go first: behind a second's readings nothing of the backlog waits any more.
        const { ledger } = await until('the backlog to be delivered', async () => {
          const seen = await seenStatus(gateway!.config);
          return seen.ledger.pending < READINGS_A_SECOND && seen;
        });
        // What was not lost with the spool, or with a block of it, has been delivered. Nothing is lost with the first pages.
        const { quarantined = 0 } = ledger.dropped;
        assert.ok(
          quarantined > 0 === !bad(0, used) && quarantined + ledger.delivered >= counted,
          `${counted}: ${JSON.stringify(ledger)}`,
        );
        assert.match(gateway.messages().join('\n') + kept.ends.join(), /quarantine|SIGBUS|135/);
        // It says so above, and goes on.
        await watcher.until('the loss report', ({ losses }) => losses.some(({ reason }) => reason === 'quarantined'));
        const { delivered } = (await seenStatus(gateway.config)).ledger;
        await until(
          'more to be delivered',
          async () => (await seenStatus(gateway!.config)).ledger.delivered > delivered + 100,
        );
        assert.equal(watcher.contradictions().length, 0, 'a number was used twice');
        assert.equal(await gateway.stop(), 0);
        await lookAtSpool(dataDir, (reader, books) => assert.deepEqual(verify(reader, books).problems, []));
        context.diagnostic(
          `${sectors.length} bad pages; lives before it went on ended with: ${kept.ends.join(' ') || '-'}`,
        );
      } finally {
        await gateway?.kill();
        await watcher.end();
        await broker.end();
        await stack.end();
      }
    });
  }
});
