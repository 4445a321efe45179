import fs from 'node:fs';
import path from 'node:path';

/** systemd's LoadCredential= gives a folder's files this before their names (systemd.exec(5)); ours is `secrets`. */
const FOLDER_PREFIX = 'secrets_';
/** The folder beside the configuration that is root's alone. */
const FOLDER = 'secrets';

/** Largest secret, bytes. */
export const SECRET_BYTES_MAX = 65_536;

export interface Secret {
  readonly value: string;
  /** Where it was found. */
  readonly file: string;
  readonly warnings: readonly string[];
}

/**
 * Where a file that the configuration names may be, best first: in `$CREDENTIALS_DIRECTORY` (systemd's LoadCredential), in
 * `configDir`, the folder of the configuration, or in `secrets` in that. A name with a `/` is a path, and is itself.
 */
function places(name: string, configDir: string, credentialsDir: string | undefined): string[] {
  const beside = path.resolve(configDir, name);
  if (name.includes('/')) return [beside];
  const handed = credentialsDir ? [name, FOLDER_PREFIX + name].map((each) => path.join(credentialsDir, each)) : [];
  return [...handed, beside, path.join(configDir, FOLDER, name)];
}

/** The one of those places where `name` is; in the folder of the configuration when it is nowhere. */
export function placeOf(
  name: string,
  configDir: string,
  credentialsDir = process.env['CREDENTIALS_DIRECTORY'],
): string {
  return places(name, configDir, credentialsDir).find((place) => fs.existsSync(place)) ?? path.resolve(configDir, name);
}

/**
 * Reads a secret that the configuration names, from where {@link placeOf} finds it. One newline at its end is not part of it.
 * Throws when there is none or it cannot be used; no error and no warning ever contains what was read.
 */
export function resolveSecret(
  name: string,
  configDir: string,
  credentialsDir = process.env['CREDENTIALS_DIRECTORY'],
): Secret {
  const file = placeOf(name, configDir, credentialsDir);

  let bytes: Buffer;
  let mode: number;
  try {
    const stat = fs.statSync(file);
    if (!stat.isFile()) throw new Error(`${file}: is not a file`);
    if (stat.size > SECRET_BYTES_MAX)
      throw new Error(`${file}: has more than ${SECRET_BYTES_MAX} bytes, too many for a secret`);
    mode = stat.mode;
    bytes = fs.readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (code !== 'ENOENT') throw new Error(`${file}: cannot be read (${code})`, { cause: error });
    const all = places(name, configDir, credentialsDir).join(', ');
    throw new Error(`secret "${name}" is in none of: ${all}`, { cause: error });
  }

  let value: string;
  try {
    value = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes).replace(/\r?\n$/, '');
  } catch {
    throw new Error(`${file}: is not UTF-8 text`);
  }
  if (value === '') throw new Error(`${file}: is empty`);
  const exposed = (mode & 0o004) !== 0;
  return {
    value,
    file,
    warnings: exposed ? [`${file}: can be read by every user of this machine; run: chmod o-r ${file}`] : [],
  };
}
