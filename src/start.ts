import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Script } from 'node:vm';
import { crc32 } from 'node:zlib';

/*
 * Starts the bundle beside it, `holdfast.cjs`, with what V8 has compiled of it before: to read 3 MiB of JavaScript is most of a
 * short command's time, seconds on a slow board (docs/decisions/0021-compiled-code-is-kept.md). With HOLDFAST_COMPILE=1 it keeps,
 * when the program ends, what V8 has compiled by then.
 *
 * `holdfast.cache`: CRC-32 of what it was made of and with, CRC-32 of the rest (both big-endian), then V8's data. V8 itself asks for
 * no more than the same version, flags and length of the source; damaged data could end the process at every start.
 */
const PROGRAM = join(__dirname, 'holdfast.cjs');
const CACHE = join(__dirname, 'holdfast.cache');
const HEAD_BYTES = 8;

/** What the data is of, besides what V8 looks at itself: builds of Node differ in what they compile to, and data names its file. */
function identity(bundle: Buffer): number {
  return crc32(`${process.version} ${process.arch} ${PROGRAM}`, crc32(bundle));
}

/** V8's data; undefined where there is none of this bundle. */
function kept(of: number): Buffer | undefined {
  try {
    const file = readFileSync(CACHE);
    const data = file.subarray(HEAD_BYTES);
    return file.readUInt32BE(0) === of && file.readUInt32BE(4) === crc32(data) ? data : undefined;
  } catch {
    return undefined;
  }
}

/** Whatever the program did is done: that this fails changes nothing of it. */
function keep(script: Script, of: number): void {
  const fresh = `${CACHE}.${process.pid}.new`;
  try {
    const data = script.createCachedData();
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32BE(of, 0);
    head.writeUInt32BE(crc32(data), 4);
    writeFileSync(fresh, Buffer.concat([head, data]));
    renameSync(fresh, CACHE);
  } catch (error) {
    rmSync(fresh, { force: true });
    process.stderr.write(`holdfast: what V8 has compiled is not kept: ${String(error)}\n`);
  }
}

/** The bundle as a function of what a CommonJS module is given; nothing of the files is held on to but V8's one text. */
function compiled(): (...given: unknown[]) => void {
  const bundle = readFileSync(PROGRAM);
  const wanted = process.env['HOLDFAST_COMPILE'] === '1';
  const of = identity(bundle);
  const cachedData = wanted ? undefined : kept(of);
  // A function's body has no room for a hashbang.
  if (bundle[0] === '#'.charCodeAt(0)) bundle.write('//');
  const text = Buffer.concat([
    Buffer.from('(function (exports, require, module, __filename, __dirname) {'),
    bundle,
    Buffer.from('\n})'),
  ]).toString('utf8');
  const script = new Script(text, { filename: PROGRAM, cachedData });
  if (wanted) process.once('exit', () => keep(script, of));
  return script.runInThisContext() as (...given: unknown[]) => void;
}

// As if Node had been given the bundle itself: where profiles lie is found from there.
process.argv[1] = PROGRAM;
const program = { exports: {} };
compiled().call(program.exports, program.exports, createRequire(PROGRAM), program, PROGRAM, dirname(PROGRAM));
