// Bundles src/main.ts into dist/holdfast.cjs (or the file that is named), the one file that `holdfast` runs from; beside it
// src/start.ts as start.cjs, which starts it, and holdfast.cache, what V8 has compiled of it. And src/fleet/fleet.ts into
// dist/fleet.mjs, which programs import as `holdfast/fleet`, with its types in dist/types.
// The first two are CommonJS, since Node's ES module loader costs start-up time and memory that a small board feels.
import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const ENTRY = resolve(ROOT, 'src/main.ts');
// Elsewhere, without the library and what V8 compiles (postinst has it made by the Node.js that is there), for who builds a Debian
// package: perhaps while this checkout is built.
const elsewhere = process.argv[2];
const OUT = resolve(ROOT, elsewhere ?? 'dist/holdfast.cjs');
const START = resolve(dirname(OUT), 'start.cjs');
const LIBRARY = resolve(ROOT, 'dist/fleet.mjs');

// They find their compiled halves relative to their own folders, so they stay there and are required at run time.
const NATIVE = ['node-lmdb', 'epoll', 'koffi', '@serialport/bindings-cpp'];

const started = performance.now();
if (!(await stat(ENTRY).catch(() => null))) {
  process.stderr.write(`build: there is no ${ENTRY}, nothing to bundle\n`);
  process.exit(1);
}
const { version } = JSON.parse(await readFile(resolve(ROOT, 'package.json'), 'utf8'));
// SOURCE_DATE_EPOCH: reproducible-builds.org/specs/source-date-epoch
const builtAt = process.env.SOURCE_DATE_EPOCH ? new Date(Number(process.env.SOURCE_DATE_EPOCH) * 1000) : new Date();

const define = {
  __HOLDFAST_VERSION__: JSON.stringify(version),
  __HOLDFAST_BUILT_AT__: JSON.stringify(builtAt.toISOString()),
};

const program = build({
  absWorkingDir: ROOT,
  entryPoints: [ENTRY],
  outfile: OUT,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  external: NATIVE,
  // A dynamic import of a bundled file stays lazy; one of a native package becomes a require, without the module loader.
  supported: { 'dynamic-import': false },
  minifyWhitespace: true,
  minifySyntax: true,
  keepNames: true,
  legalComments: 'none',
  sourcemap: 'linked',
  banner: {
    js: '#!/usr/bin/env node\n"use strict";const holdfastModuleUrl=require("node:url").pathToFileURL(__filename).href;',
  },
  define: { 'import.meta.url': 'holdfastModuleUrl', ...define },
  write: false,
});

const start = build({
  absWorkingDir: ROOT,
  entryPoints: [resolve(ROOT, 'src/start.ts')],
  outfile: START,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  banner: { js: '#!/usr/bin/env node\n"use strict";' },
  write: false,
});

// Whoever imports it has our dependencies installed, and perhaps shares them.
const library = () =>
  build({
    absWorkingDir: ROOT,
    entryPoints: [resolve(ROOT, 'src/fleet/fleet.ts')],
    outfile: LIBRARY,
    bundle: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    legalComments: 'none',
    sourcemap: 'linked',
    define,
    write: false,
  });

const built = await Promise.all([program, start, ...(elsewhere === undefined ? [library()] : [])]).catch(() =>
  process.exit(1),
); // esbuild has printed what is wrong and where
const outputFiles = built.flatMap((each) => each.outputFiles);
if (elsewhere === undefined) await writeTypes();

const bundle = outputFiles.find(({ path }) => path === OUT);
// V8 keeps the source as long as the program runs, at two bytes a character as soon as one is beyond Latin-1: 3 MB more.
// esbuild escapes those in strings, not those in regular expressions.
const [strange] = /[^\0-\xff]/.exec(bundle?.text ?? '') ?? [];
if (strange !== undefined) {
  process.stderr.write(`build: ${strange} stands in the bundle as it is: write it as an escape\n`);
  process.exit(1);
}

await mkdir(dirname(OUT), { recursive: true });
for (const { path, contents } of outputFiles) {
  // A gateway that starts during a build finds the old bundle or the new one, never half of one.
  await writeFile(`${path}.new`, contents);
  await chmod(`${path}.new`, [OUT, START].includes(path) ? 0o755 : 0o644);
  await rename(`${path}.new`, path);
}
if (elsewhere === undefined) {
  // Without it everything works, and starts more slowly.
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_'));
  await promisify(execFile)(process.execPath, [START, 'config', 'check', resolve(ROOT, 'systemd/gateway.yaml')], {
    env: { ...Object.fromEntries(own), HOLDFAST_COMPILE: '1' },
  }).catch(({ stderr, message }) =>
    process.stderr.write(`build: nothing is compiled beforehand: ${stderr || message}\n`),
  );
}
const kib = Math.round((bundle?.contents.length ?? 0) / 1024);
process.stdout.write(
  `${relative(ROOT, OUT)} ${version}: ${kib} KiB in ${Math.round(performance.now() - started)} ms\n`,
);

/** Declarations of what the library exports and of what those mention. */
async function writeTypes() {
  const tsc = resolve(ROOT, 'node_modules/.bin/tsc');
  await promisify(execFile)(tsc, ['-p', 'tsconfig.types.json'], { cwd: ROOT }).catch(({ stdout, message }) => {
    process.stderr.write(`build: ${stdout || message}\n`);
    process.exit(1);
  });
}
