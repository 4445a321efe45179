import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { messagesIn } from '../src/spool/export.ts';
import { spoolFile, SpoolFiles } from '../src/spool/files.ts';
import { verifyStopped } from '../src/spool/inspection.ts';
import { salvage } from '../src/spool/salvage.ts';
import { PageFile } from '../src/store/page-file.ts';
import { chance } from './parts/chance.ts';
import { liveBytes, type Live } from './parts/live-bytes.ts';
import { noise, SpoolRig } from './parts/spool-rig.ts';

const TEARS = process.env['HOLDFAST_TEST_LONG'] === '1' ? 3000 : 80;
const LONG = process.env['HOLDFAST_TEST_LONG'] === '1';
const SEED = 20_261_125;
const FLIPS = LONG ? 6000 : 250;
/** Of the flips, those within contents: they are most of the bytes and the least interesting. */
const IN_CONTENTS = 0.3;

let path: string;
let live: Live[];

/** A spool with all that a spool has: several lanes, large and small blocks, a tree of two levels, dead letters, losses, free pages. */
before(async () => {
  const rig = await SpoolRig.open();
  // Somebody takes messages: small blocks stay as they are.
  rig.spool.next();
  const random = chance(SEED);
  for (let commit = 0; commit < 300; commit++) {
    const lane = [0, 4, 10][Math.floor(random() * 3)]!;
    const large = random() < 0.2;
    for (let n = 0; n < (large ? 12 : 2); n++) void rig.accept(noise(large ? 300 : 20), lane, false);
    await rig.spool.flush();
    if (commit % 10 !== 9) continue;
    const [letter, ...taken] = rig.take(4);
    rig.spool.deadLetter(letter!, 'refused');
    for (const stored of taken) rig.spool.delivered(stored, true);
  }
  await rig.spool.flush();
  await rig.audit();
  await rig.close();
  path = spoolFile(rig.dataDir);
  const file = PageFile.open(path);
  live = liveBytes(file);
  assert.equal(file.meta.main.depth, 2);
  assert.ok(file.meta.main.valuePages > 20 && file.meta.free.entries > 0);
  file.close();
});

const look = () => verifyStopped(path, () => performance.now());

/** All entries by their keys, as one finds them who looks for each. */
function contents(keys: readonly Buffer[]): (string | null)[] {
  const file = PageFile.open(path);
  try {
    return keys.map((key) => file.get(key)?.toString('base64') ?? null);
  } finally {
    file.close();
  }
}

function keysOf(): Buffer[] {
  const keys: Buffer[] = [];
  const file = PageFile.open(path);
  file.scan(Buffer.of(0), ({ key }) => keys.push(key) > 0);
  file.close();
  return keys;
}

describe('verify', () => {
  test('finds nothing in a sound spool', async () => {
    const found = await look();
    assert.deepEqual(found.problems, []);
    assert.ok(found.blocks > 100 && found.deadLetters === 30);
  });

  test(`finds each of ${FLIPS} single bits that flipped where they mean something (seed ${SEED})`, async (context) => {
    const random = chance(SEED + 1);
    const isContents = ({ what }: Live) => what === 'spool' || what === 'spool: value';
    const groups = new Map<string, Live[]>();
    for (const range of live) groups.set(range.what, [...(groups.get(range.what) ?? []), range]);
    const names = [...groups.keys()].filter((name) => !isContents(groups.get(name)![0]!));
    const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)]!;
    const keys = keysOf();
    const whole = contents(keys);
    const fd = openSync(path, 'r+');
    const byte = Buffer.alloc(1);
    const counts = { found: 0, harmless: 0 };
    for (let n = 0; n < FLIPS; n++) {
      const { what, at, bytes, loose } =
        random() < IN_CONTENTS ? pick(live.filter(isContents)) : pick(groups.get(pick(names))!);
      const place = at + Math.floor(random() * bytes);
      const bit = Math.floor(random() * 8);
      readSync(fd, byte, 0, 1, place);
      writeSync(fd, Buffer.of(byte[0]! ^ (1 << bit)), 0, 1, place);
      const { problemCount } = await look();
      if (problemCount > 0) counts.found++;
      else {
        assert.ok(loose, `bit ${bit} of byte ${place} (${what}) flipped, and nothing was said`);
        assert.deepEqual(contents(keys), whole, `bit ${bit} of byte ${place} (${what}) was not harmless`);
        counts.harmless++;
      }
      writeSync(fd, byte, 0, 1, place);
    }
    closeSync(fd);
    assert.deepEqual((await look()).problems, [], 'all was put back');
    context.diagnostic(`${counts.found} found, ${counts.harmless} that changed nothing for anybody`);
    assert.ok(counts.found > FLIPS * 0.9);
  });

  test(`and every other reader survive any ${TEARS} tears of a few bytes to some pages (seed ${SEED})`, async (context) => {
    const random = chance(SEED + 2);
    const whole = readFileSync(path);
    let unsound = 0;
    try {
      for (let n = 0; n < TEARS; n++) {
        const torn = Buffer.from(whole);
        // Mostly where a page says what it is.
        for (let tear = 0; tear < 3; tear++) {
          const page = Math.floor(random() * (torn.length / 4096)) * 4096;
          const at = page + (random() < 0.7 ? Math.floor(random() * 64) : Math.floor(random() * 4000));
          for (let byte = 0; byte < 1 + random() * 16; byte++) torn[at + byte] = random() * 256;
        }
        if (n % 10 === 0) torn.fill(0, 0, 8192);
        writeFileSync(path, torn);
        if ((await look()).problemCount > 0) unsound++;
        let found = 0;
        for (const _ of salvage(path, null, () => undefined)) found++;
        assert.ok(found > 0);
        if (n % 10 === 0) continue;
        const files = SpoolFiles.stopped(path, () => undefined);
        for await (const { stored } of messagesIn(
          files,
          {},
          () => 0,
          () => undefined,
        ))
          found += stored.length;
        files.close();
      }
    } finally {
      writeFileSync(path, whole);
    }
    context.diagnostic(`${unsound} of ${TEARS} were unsound`);
    assert.ok(unsound > TEARS / 4);
  });
});
