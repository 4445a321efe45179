import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { Stored } from '../src/message/message.ts';
import { startRogueBroker } from './parts/rogue-broker.ts';
import { mountSmall } from './parts/small-filesystem.ts';
import { noise, SpoolRig, text, type RigOptions } from './parts/spool-rig.ts';
import { until } from './parts/until.ts';
import { UpstreamRig } from './parts/upstream-rig.ts';

const MIB = 2 ** 20;
const small = mountSmall('ext4', 64 * MIB);

/** Makes the kernel refuse every write to a spool's file, also through descriptors that are open; or no more. */
function refuse(rig: SpoolRig, refused: boolean): void {
  execFileSync('chattr', [refused ? '+i' : '-i', join(rig.dataDir, 'spool/data.mdb')], { stdio: 'pipe' });
}

/** Where a message stands. */
function place({ epoch, lane, seq }: Stored): string {
  return `${epoch}.${lane}.${seq}`;
}

function numbers(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, n) => first + n);
}

describe(
  'a medium that takes nothing while the network is up',
  {
    skip: typeof small === 'string' ? small : false,
  },
  () => {
    if (typeof small === 'string') return;
    after(() => small.unmount());
    let runs = 0;
    const options = (): RigOptions => ({ dataDir: join(small.dir, `data-${++runs}`), quota: { bytes: 8 * MIB } });

    /** Opens a spool with `before` messages on the medium, which then takes no more, and another `unwritten` that wait. */
    const opened = async (before: number, unwritten: number, given: RigOptions = {}) => {
      const rig = await SpoolRig.open({ ...options(), ...given });
      const safe = new Set<number>();
      let count = 0;
      const accept = () => {
        const n = ++count;
        rig.accept(String(n)).then(
          () => safe.add(n),
          () => undefined,
        );
      };
      while (count < before) accept();
      await rig.spool.flush();
      refuse(rig, true);
      while (count < before + unwritten) accept();
      await until('the fault', () => {
        void rig.spool.flush().catch(() => undefined);
        return rig.spool.snapshot().fault !== null;
      });
      return { rig, safe, accept };
    };

    test('after a while messages are sent from memory, in order; who waits hears it; the rest is written when it may be', async () => {
      const { rig, safe, accept } = await opened(20, 30);
      try {
        const sent = rig.take(20);
        assert.equal(rig.spool.next(), null, 'at first the medium is waited for');
        await until('messages from memory', () => {
          const stored = rig.spool.next();
          if (stored !== null) sent.push(stored);
          return stored !== null;
        });
        sent.push(...rig.take());
        assert.deepEqual(
          sent.map(({ seq, message }) => [seq, Number(message.body)]),
          numbers(1, 50).map((n) => [n, n]),
        );
        assert.ok(sent.slice(0, 20).every(({ epoch }) => epoch === 1));
        const epoch = sent[20]!.epoch;
        assert.ok(epoch > 1 && sent.slice(20).every((stored) => stored.epoch === epoch));
        assert.deepEqual(
          rig.spool.lossesToReport().map((row) => [row.reason, row.epoch, row.lastSeq, row.count, row.exact]),
          [['unclean-stop', 1, 20, 0, true]],
        );
        assert.equal(safe.size, 20, 'acknowledged, and neither on the medium nor with the upstream');
        for (const stored of sent.slice(0, 35)) rig.spool.delivered(stored, true);
        for (let n = 0; n < 10; n++) accept();
        // A block's senders are told together, once all of it has been taken.
        assert.ok(safe.size <= 35);
        for (const stored of sent.slice(35)) rig.spool.delivered(stored, true);
        await until('the senders to hear', () => safe.size === 50);
        assert.equal(rig.spool.unmarked, 0, 'sending must not wait for marks that cannot be made');
        refuse(rig, false);
        await until('the rest to be written', () => safe.size === 60 && rig.books().write === 'always');
        await rig.audit();
        assert.equal(rig.books().ledger.delivered, 50);
        assert.equal(rig.books().epoch, epoch);
        const again = await rig.restart();
        assert.deepEqual(again.take().map(text), numbers(51, 60).map(String));
        await again.audit();
        await again.close();
      } finally {
        refuse(rig, false);
        await rig.close();
      }
    });

    for (const write of ['always', 'when-needed'] as const) {
      test(`(write: ${write}) a crash meanwhile: no number comes twice with another content, and nothing acknowledged is lost`, async () => {
        const { rig, safe } = await opened(20, 30, { write, commitEveryMs: 10 });
        try {
          const seen = new Map<string, string>();
          const see = (stored: Stored) => {
            const before = seen.get(place(stored)) ?? text(stored);
            assert.equal(text(stored), before, `${place(stored)} was ${before}`);
            seen.set(place(stored), text(stored));
          };
          const delivered = new Set<number>();
          await until('all to be sent', () => {
            for (let stored = rig.spool.next(); stored !== null; stored = rig.spool.next()) {
              see(stored);
              delivered.add(Number(text(stored)));
              rig.spool.delivered(stored, true);
            }
            return delivered.size === 50;
          });
          await until('the senders to hear', () => safe.size === 50);
          const next = await rig.crash();
          for (let n = 51; n <= 90; n++) void next.accept(String(n));
          await next.spool.flush();
          const left = next.take();
          for (const stored of left) see(stored);
          assert.deepEqual(left.map(text).slice(-40), numbers(51, 90).map(String));
          await next.audit();
          await next.close();
        } finally {
          refuse(rig, false);
          await rig.close();
        }
      });
    }

    test('until all that was sent from memory is written, the medium knows that numbers may have been used', async () => {
      const { rig, safe } = await opened(1, 1);
      try {
        for (let n = 0; n < 1500; n++) void rig.accept(noise(1000));
        const sent: Stored[] = [];
        await until('all to be sent', () => {
          sent.push(...rig.take());
          return sent.length === 1502;
        });
        const modes: string[] = [];
        rig.spool.onCommit(() => {
          // Also said when there is more to send without a commit.
          if (rig.books().epoch > 1) modes.push(rig.books().write);
        });
        refuse(rig, false);
        await until('all to be written', () => modes.at(-1) === 'always');
        assert.ok(modes.filter((mode) => mode === 'when-needed').length > 2, modes.join());
        await rig.audit();
        assert.equal(safe.size, 2);
        // What was in flight meanwhile is settled as if it had been read from the medium.
        for (const stored of sent) rig.spool.delivered(stored, true);
        await rig.audit();
        assert.equal(rig.spool.snapshot().pending, 0);
      } finally {
        refuse(rig, false);
        await rig.close();
      }
    });

    test('who waits for a message that the upstream refuses for good hears when it is kept apart on the medium', async () => {
      const { rig, safe } = await opened(0, 3);
      try {
        await until('messages from memory', () => rig.spool.next() !== null);
        rig.spool.rewind();
        const [first, second, third] = rig.take();
        rig.spool.delivered(first!, true);
        rig.spool.deadLetter(second!, 'refused');
        rig.spool.delivered(third!, true);
        // Two more attempts of the committer, which would have told them.
        const { faultSecs } = rig.spool.snapshot();
        await until('a while', () => rig.spool.snapshot().faultSecs! >= faultSecs! + 3);
        assert.equal(safe.size, 0);
        refuse(rig, false);
        await until('the senders to hear', () => safe.size === 3);
        assert.equal(rig.books().ledger.deadLetters, 1);
        await rig.audit();
      } finally {
        refuse(rig, false);
        await rig.close();
      }
    });

    test('a backlog on it and what comes meanwhile reach the broker, far beyond the marks that it does not take', async () => {
      const broker = await startRogueBroker();
      const rig = await UpstreamRig.open(broker.url, { spool: options() });
      try {
        await rig.fill(3000);
        refuse(rig.rig, true);
        rig.upstream.start();
        let count = 3000;
        const chatter = setInterval(() => void rig.rig.accept(String(++count), 10, false).catch(() => undefined), 5);
        try {
          await broker.until('new ones', ({ events }) => events.length >= 4000, 30_000);
        } finally {
          clearInterval(chatter);
        }
        assert.notEqual(rig.rig.spool.snapshot().fault, null);
        assert.ok(count >= 4000);
        await rig.drained();
        assert.deepEqual(
          broker.events.map(({ body }) => Number(body)),
          numbers(1, count),
        );
        refuse(rig.rig, false);
        await until('the medium to be written', () => rig.rig.spool.snapshot().fault === null);
        await rig.rig.audit();
        assert.equal(rig.rig.books().ledger.delivered, count);
      } finally {
        refuse(rig.rig, false);
        await rig.end();
        await broker.end();
      }
    });
  },
);
