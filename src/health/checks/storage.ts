import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock } from '../../clock/clock.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { QUOTA_BYTES_MAX } from '../../config/storage.ts';
import { spoolFile, statsFromFiles } from '../../spool/files.ts';
import { probe } from '../../spool/probe.ts';
import type { Amount } from '../../spool/quota.ts';
import type { SpoolStats } from '../../spool/stats.ts';
import { StoreError } from '../../store/store-error.ts';
import { userName } from './accounts.ts';
import { fail, ok, skip, warn, type Check, type Finding } from './check.ts';
import type { GatewayStatus } from '../status.ts';
import type { Scene } from './scene.ts';
import { timeToFull } from './time-to-full.ts';

/** What is written to try whether it can be, bytes: a page. */
const TRIAL_BYTES = 4096;
/** A medium that takes longer to make a page durable is failing, or has too much else to do, ms (balena's limit). */
const SLOW_WRITE_MS = 1000;

/** Whether there is a place for what must last, and what lies there is sound. */
export function storageChecks(scene: Scene): Check[] {
  const { clock, gateway } = scene;
  const loaded = scene.loaded as LoadedConfig;
  return [
    {
      id: 'data-dir',
      about: 'the data directory can be written by this user',
      needs: ['config'],
      run: () => dataDir(loaded.config.gateway.dataDir, scene.user, clock),
    },
    {
      id: 'disk-space',
      about: 'the disk has room for the spool to grow to its quota',
      needs: ['config', 'data-dir'],
      run: () => diskSpace(loaded),
    },
    {
      id: 'spool',
      about: 'the spool opens, and its books are even',
      needs: ['config', 'data-dir'],
      run: () => spool(gateway.is === 'running' ? gateway.spoolStats : () => stopped(loaded, scene)),
    },
    {
      id: 'storage',
      about: 'the running gateway can write, as much as it should',
      needs: ['config'],
      run: () =>
        gateway.is === 'running' ? storage(gateway.status.spool) : skip('no gateway runs that could be asked'),
    },
    {
      id: 'time-to-full',
      about: 'the spool holds out for a day without the upstream',
      needs: ['config'],
      run: () =>
        gateway.is === 'running'
          ? timeToFull(gateway.status, loaded.config.storeAndForward.timeToLiveSecs)
          : skip('no gateway runs that could be asked'),
    },
  ];
}

function dataDir(dir: string, user: string, clock: Clock): Finding {
  const mine = `let it belong to the user that the gateway runs as, for example: sudo chown -R holdfast: ${dir}`;
  if (!fs.existsSync(dir)) {
    const parent = nearestExisting(dir);
    try {
      fs.accessSync(parent, fs.constants.W_OK | fs.constants.X_OK);
      return ok(`${dir} is not there yet; \`holdfast run\` makes it`);
    } catch {
      return fail(
        `${dir} is not there, and ${user} may not make it in ${parent}`,
        `make it: sudo mkdir -p ${dir}; and ${mine}`,
      );
    }
  }
  if (!fs.statSync(dir).isDirectory())
    return fail(`${dir} is not a folder`, 'name another gateway.dataDir, or move the file away');
  const trial = join(dir, `.check-${process.pid}`);
  const began = clock.monotonic();
  try {
    const fd = fs.openSync(trial, 'wx', 0o600);
    try {
      fs.writeSync(fd, Buffer.alloc(TRIAL_BYTES, 0x5a));
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
      fs.rmSync(trial, { force: true });
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EROFS') {
      return fail(
        `${dir} is on a filesystem that is read-only`,
        'a card that fails often turns read-only: look at `dmesg`, and replace it',
      );
    }
    if (code === 'ENOSPC') return fail(`${dir}: the disk is full`, 'make room on it');
    if (code === 'EACCES' || code === 'EPERM') {
      const owner = userName(fs.statSync(dir).uid);
      return fail(
        `${user} may not write to ${dir}, which belongs to ${owner}`,
        `look as the user that the gateway runs as (sudo -u ${owner} holdfast check); if that is another one, ${mine}`,
      );
    }
    return fail(`${dir}: ${message}`, 'look at `dmesg`: the medium may be failing');
  }
  const ms = Math.round(clock.monotonic() - began);
  if (fs.existsSync(join(dir, 'quarantine'))) {
    return warn(
      `${join(dir, 'quarantine')} holds a spool that could not be used; what could be read of it went on in a fresh one, the rest is booked as dropped, quarantined`,
      `find out why (a failing card?), keep it for a report, then: sudo rm -r ${join(dir, 'quarantine')}`,
    );
  }
  if (ms > SLOW_WRITE_MS) {
    return warn(
      `${dir}: ${ms} ms to make one page durable`,
      'a card that is so slow is worn or overloaded: replace it, or find what else writes to it',
    );
  }
  return ok(`${dir}: written and made durable in ${ms} ms`);
}

function diskSpace({ config: { gateway, storeAndForward } }: LoadedConfig): Finding {
  const { bsize, blocks, bavail } = fs.statfsSync(nearestExisting(gateway.dataDir));
  const total = blocks * bsize;
  const free = bavail * bsize;
  const bytesOf = (amount: Amount) => ('bytes' in amount ? amount.bytes : (total * amount.percent) / 100);
  const keepFree = bytesOf(storeAndForward.keepFree);
  const quota = Math.min(bytesOf(storeAndForward.quota), QUOTA_BYTES_MAX);
  const room = free - keepFree;
  const grow = Math.max(0, quota - bytesUnder(gateway.dataDir));
  const have = `${mib(free)} free of ${mib(total)}, ${mib(keepFree)} of them to be kept free`;
  if (room < 0) {
    return fail(
      `${have}: the spool cannot grow, and will drop messages early`,
      'make room on the disk, or lower storeAndForward.keepFree',
    );
  }
  if (room < grow) {
    return warn(
      `${have}: the spool can grow by ${mib(room)}, its quota would allow ${mib(grow)}`,
      'make room on the disk, or lower storeAndForward.quota so that the outage you plan for is the one you get',
    );
  }
  return ok(`${have}; the spool may grow by ${mib(grow)}`);
}

/** Looks at the files as a start would. */
function stopped({ config }: LoadedConfig, { gateway, clock }: Scene): Promise<SpoolStats> {
  const { dataDir } = config.gateway;
  // One that does not answer may be writing all the same: its pages change while they are looked at.
  if (gateway.is === 'absent') probe(spoolFile(dataDir), clock.bootId);
  return statsFromFiles(dataDir, 0);
}

async function spool(look: () => Promise<SpoolStats>): Promise<Finding> {
  let stats: SpoolStats;
  try {
    stats = await look();
  } catch (error) {
    const message = (error as Error).message;
    if (!(error instanceof StoreError)) {
      return fail(message, 'a newer Holdfast wrote it: run that one, or move the spool away; it was left as it is');
    }
    if (error.fault === 'absent') return ok('there is none yet; `holdfast run` makes it');
    if (error.fault === 'damaged' && !message.includes('EACCES')) {
      return fail(
        message,
        'at its next start the gateway sets it aside, and what can be read of it goes on in a fresh one; copy it first if it matters',
      );
    }
    return fail(message, 'look at who may read it: it belongs to the user that the gateway runs as');
  }
  const { accepted, delivered, pending, deadLetters, dropped } = stats.ledger;
  const lost = Object.values(dropped).reduce((sum, each) => sum + each, 0);
  if (accepted !== delivered + pending + deadLetters + lost) {
    return fail(
      'its books are not even',
      'report this with the output of `holdfast spool verify` and `holdfast spool stats --json`',
    );
  }
  if (deadLetters > 0) {
    return warn(
      `${pending} messages wait; ${deadLetters} were refused by the broker and kept aside as dead letters`,
      'look at why: `holdfast spool dead-letters list`; then `retry` or `drop` them',
    );
  }
  return ok(`${pending} messages wait, and the books are even`);
}

/** What the gateway itself says of its medium. */
function storage({ fault, waitingBytes, filling, shrinkPending, wear }: GatewayStatus['spool']): Finding {
  if (fault !== null) {
    return fail(
      `it cannot write: ${fault}; ${mib(waitingBytes)} wait in memory, and are lost with the power`,
      'look at `dmesg` and `df`; it goes on by itself when the medium takes writes again',
    );
  }
  if (filling.held && !shrinkPending) {
    return warn(
      `others have filled the disk: the spool's file stays at ${mib(filling.bytes)} of ${mib(filling.targetBytes)}`,
      'make room on the disk, or lower storeAndForward.quota so that the outage you plan for is the one you get',
    );
  }
  if (wear.budget?.kept === false) {
    return warn(
      `the wear budget of ${mib(wear.budget.bytesPerDay)} a day is not kept: ${mib(wear.bytesPerDay)} a day ${wear.measured ? 'are written' : 'by estimate'}`,
      'raise storeAndForward.wearBudget, or have children that wait for acknowledgements send less often',
    );
  }
  return ok(`it can; ${mib(wear.bytesPerDay)} a day to the medium${wear.measured ? '' : ' by estimate'}`);
}

function nearestExisting(path: string): string {
  let at = path;
  while (!fs.existsSync(at) && dirname(at) !== at) at = dirname(at);
  return at;
}

/**
 * What lies under a folder, as it counts on the disk. What goes while we look counts nothing, nor what we may not look into:
 * where `dataDir` is a filesystem of its own, root's `lost+found` stands in it.
 */
function bytesUnder(dir: string): number {
  let entries: fs.Dirent[];
  try {
    entries = fs.readdirSync(dir, { withFileTypes: true });
  } catch (error) {
    if (['ENOENT', 'EACCES'].includes((error as NodeJS.ErrnoException).code!)) return 0;
    throw error;
  }
  return entries.reduce((bytes, entry) => {
    const path = join(dir, entry.name);
    const own = (fs.lstatSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
    return bytes + own + (entry.isDirectory() ? bytesUnder(path) : 0);
  }, 0);
}

function mib(bytes: number): string {
  const value = bytes / 1024 ** 2;
  return value >= 10_240 ? `${Math.round(value / 1024)} GiB` : `${Math.round(value)} MiB`;
}
