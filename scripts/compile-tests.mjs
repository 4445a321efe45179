// Compiles each .ts of src, test, bench and scripts into .scratch/tests, as a module of its own at the same path, for
// `npm test`: it starts a process for each test file, and many of these start more; plain JavaScript spares each of them the
// transpiler (0.4 to 1 s of a CPU). Why not otherwise: docs/decisions/0018-tests-are-compiled.md.
import { readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '..');
const OUT = join(ROOT, '.scratch/tests');

const sources = ['src', 'test', 'bench', 'scripts'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
);

// Every import stays an import: of the file's compiled sibling, or of the package.
const asImports = {
  name: 'as-imports',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^\..*\.ts$/ }, ({ path, kind }) =>
      kind === 'entry-point' ? undefined : { path: path.replace(/ts$/, 'js'), external: true },
    );
  },
};

rmSync(OUT, { recursive: true, force: true });
await build({
  absWorkingDir: ROOT,
  entryPoints: sources,
  outdir: OUT,
  outbase: ROOT,
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node20',
  format: 'esm',
  treeShaking: false,
  plugins: [asImports],
  // Files are found where they stand beside the source; only `import.meta.filename` names what runs.
  banner: {
    js: `const sourceUrl=import.meta.url.replace("/.scratch/tests/","/").replace(/js$/,"ts"),sourceDirname=import.meta.dirname.replace("/.scratch/tests","");`,
  },
  define: { 'import.meta.url': 'sourceUrl', 'import.meta.dirname': 'sourceDirname' },
  sourcemap: 'linked',
  sourcesContent: false,
}).catch(() => process.exit(1)); // esbuild has printed what is wrong and where
