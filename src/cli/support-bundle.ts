import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import si from 'systeminformation';
import { stringify } from 'yaml';
import { asMapping, readYaml } from '../config/document.ts';
import type { LoadedConfig } from '../config/load.ts';
import { loadConfig } from '../config/load.ts';
import { placeOf, SECRET_BYTES_MAX } from '../config/secret.ts';
import { VERSION } from '../config/version.ts';
import { allChecks } from '../health/checks/catalogue.ts';
import { runChecks, type Report } from '../health/checks/check.ts';
import { lineText, type LogLine } from '../health/log-ring.ts';
import { Redaction } from '../health/redaction.ts';
import { tar, type TarEntry } from '../health/tar.ts';
import { statsFromFiles } from '../spool/files.ts';
import { Quota } from '../spool/quota.ts';
import { look } from './check.ts';
import { configured, whereabouts, type CommonOptions, type Configured, type Whereabouts } from './configured.ts';
import { ask, askOne } from './control-client.ts';
import { journal } from './journal.ts';
import { FINE, printJson, say } from './output.ts';
import { writeNew } from './output-file.ts';
import { runningOrStopped } from './spool-source.ts';

/** Lines of the log that go along. */
const LINES_MAX = 2000;
/** Longest that one part may take, ms. */
const PART_MS_MAX = 30_000;
/** What is left of a part that took too long may keep the process open for so long, ms. */
const LINGER_MS = 500;
/** Keys with a secret for a value; those that name a file end with `File`. */
const SECRET_KEY = /(?:password|passphrase|secret|token|psk|sharedAccessKey|privateKey)$/i;

const README = `What \`holdfast support-bundle\` found on this gateway, for those who help.

Secrets, keys, password hashes and tokens are taken out: what is known to be one, and what has the shape of one ("[redacted]").
No message is in here, and nothing that the spool keeps; the log may repeat a line of a sensor that could not be read.
A part that could not be made has the ending .error.txt and says why.
`;

export interface SupportBundleOptions extends CommonOptions {
  readonly output?: string;
}

/** `holdfast support-bundle`: one file with all that one needs to know to help, and no secret. */
export async function supportBundle(options: SupportBundleOptions): Promise<number> {
  const now = new Date();
  const redaction = new Redaction();
  const loaded = loadedOrNull(options.config);
  addSecrets(redaction, options.config, loaded);
  const entries: TarEntry[] = [entry('README.txt', README)];
  for (const [name, make] of Object.entries(parts(options.config))) {
    try {
      entries.push(entry(name, redaction.of(await inTime(make()))));
    } catch (error) {
      entries.push(entry(`${name}.error.txt`, redaction.of(`${(error as Error).message}\n`)));
    }
  }
  const id = loaded?.config.gateway.id ?? 'unknown';
  const stamp = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
  const file = options.output ?? `holdfast-support-${id}-${stamp}.tar.gz`;
  // For its owner alone: it says much of a network.
  writeNew(file, gzipSync(tar(entries, now.getTime() / 1000)), 0o600);
  // Such as df(1), before a filesystem that does not answer.
  setTimeout(() => process.exit(), LINGER_MS).unref();
  if (options.json === true) printJson({ file, parts: entries.map(({ name }) => name) });
  else say(`${file}: ${entries.length} files, without secrets; look into it before you send it`);
  return FINE;
}

/** Each by its name in the archive. */
function parts(file: string): Record<string, () => Promise<string>> {
  const where = () => configured(file);
  return {
    'versions.json': async () =>
      jsonText({ holdfast: VERSION, node: process.versions, platform: process.platform, arch: process.arch }),
    'gateway.yaml': async () => configText(file),
    'profile.json': async () => jsonText(where().profile),
    'status.json': async () => jsonText(await askOne(whereabouts(file), 'status')),
    'list.jsonl': async () => linesText(await all(ask(whereabouts(file), 'list'))),
    'spool-stats.json': async () => jsonText(await spoolStats(where())),
    'metrics.prom': async () => askOne<string>(whereabouts(file), 'metrics'),
    'check.json': async () => jsonText(await checks(file)),
    'log.txt': async () => (await log(whereabouts(file))).map((line) => `${lineText(line)}\n`).join(''),
    'system.json': async () => jsonText(await system()),
  };
}

/** Values only: in what was commented out there may be anything. */
function configText(file: string): string {
  // Each on its own line: what looks like a secret is taken out line by line.
  return stringify(readYaml(file).root, { lineWidth: 0 });
}

async function spoolStats(where: Configured): Promise<unknown> {
  return runningOrStopped(
    () => askOne(where, 'spool stats'),
    () => {
      const { quota, keepFree } = where.config.storeAndForward;
      const { bytes } = new Quota(where.dataDir, '', { quota, keepFree });
      return statsFromFiles(where.dataDir, bytes, () => undefined);
    },
  );
}

async function checks(file: string): Promise<Report[]> {
  const scene = await look(file);
  return all(runChecks(allChecks(scene), { only: [], skip: [] }, scene.clock));
}

async function log(where: Whereabouts): Promise<LogLine[]> {
  return runningOrStopped(
    () => all(ask<LogLine>(where, 'logs', { tail: LINES_MAX })),
    () => all(journal({ tail: LINES_MAX })),
  );
}

async function system(): Promise<unknown> {
  const [os, cpu, memory, disks, board, temperature] = await Promise.all([
    si.osInfo(),
    si.cpu(),
    si.mem(),
    si.fsSize(),
    si.system(),
    si.cpuTemperature(),
  ]);
  const { distro, release, codename, kernel, arch, uefi } = os;
  const { manufacturer, model, version, raspberry } = board;
  return {
    os: { distro, release, codename, kernel, arch, uefi },
    board: { manufacturer, model, version, raspberry },
    cpu: { brand: cpu.brand, cores: cpu.cores, speed: cpu.speed, temperature: temperature.main },
    memory: { total: memory.total, available: memory.available, swap: memory.swaptotal },
    disks,
    uptimeSecs: si.time().uptime,
  };
}

function loadedOrNull(file: string): LoadedConfig | null {
  try {
    return loadConfig(file);
  } catch {
    return null;
  }
}

/** Everything that lies where secrets lie, and what stands in the place of a file's name without being one. */
function addSecrets(redaction: Redaction, file: string, loaded: LoadedConfig | null): void {
  const dir = dirname(file);
  const root = rootOf(file);
  addNamed(redaction, root);
  const upstream = asMapping(asMapping(root)?.['upstream']) ?? {};
  const keys = ['passwordFile', 'proxyPasswordFile', 'sharedAccessKeyFile', 'clientKey'];
  for (const name of keys.flatMap((key) => upstream[key] ?? []).filter((each) => typeof each === 'string')) {
    const text = contents(placeOf(name, dir));
    redaction.add(text ?? name);
  }
  const folders = [join(dir, 'secrets'), process.env['CREDENTIALS_DIRECTORY']];
  if (loaded !== null) folders.push(join(loaded.config.gateway.dataDir, 'keys'));
  for (const folder of folders.filter((each) => each !== undefined)) {
    for (const name of namesIn(folder)) {
      const text = contents(join(folder, name));
      // A certificate is for all to see; its lines are replaced with the key's where both are in one file.
      if (text !== null && !/^\s*-----BEGIN CERTIFICATE-----/.test(text)) redaction.add(text);
    }
  }
  const hubKey = loaded?.config.hub?.key;
  if (hubKey !== undefined) redaction.add(contents(hubKey) ?? '');
}

/** What a key calls a secret: of several lines, it would not be known as one by its shape. */
function addNamed(redaction: Redaction, value: unknown): void {
  for (const [key, inner] of Object.entries(value ?? {})) {
    if (typeof inner !== 'string') addNamed(redaction, inner);
    else if (SECRET_KEY.test(key)) redaction.add(inner);
  }
}

function rootOf(file: string): unknown {
  try {
    return readYaml(file).root;
  } catch {
    return null;
  }
}

function contents(file: string): string | null {
  try {
    const { size } = statSync(file);
    return size > SECRET_BYTES_MAX ? null : readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A name server or a gateway that does not answer must not keep the rest from coming. */
async function inTime(made: Promise<string>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not made within ${PART_MS_MAX / 1000} s`)), PART_MS_MAX);
  });
  try {
    return await Promise.race([made, late]);
  } finally {
    clearTimeout(timer);
  }
}

function entry(name: string, text: string): TarEntry {
  return { name: `holdfast-support/${name}`, bytes: Buffer.from(text) };
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function linesText(values: readonly unknown[]): string {
  return values.map((value) => `${JSON.stringify(value)}\n`).join('');
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
