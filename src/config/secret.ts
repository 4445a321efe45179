import fs from 'node:fs';
import path from 'node:path';

/** Largest secret, bytes. */
export const SECRET_BYTES_MAX = 65_536;

export interface Secret {
  readonly value: string;
  /** Where it was found. */
  readonly file: string;
  readonly warnings: readonly string[];
}

/**
 * Reads a secret that the configuration names: `$CREDENTIALS_DIRECTORY/name` first (systemd's LoadCredential), then `name`
 * from `configDir`, the folder of the configuration. One newline at its end is not part of it.
 * Throws when there is none or it cannot be used; no error and no warning ever contains what was read.
 */
export function resolveSecret(
  name: string,
  configDir: string,
  credentialsDir = process.env['CREDENTIALS_DIRECTORY'],
): Secret {
  const credential = credentialsDir && !name.includes('/') ? path.join(credentialsDir, name) : undefined;
  const beside = path.resolve(configDir, name);
  const file = credential !== undefined && fs.existsSync(credential) ? credential : beside;

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
    const places = [credential, beside].filter((place) => place !== undefined);
    throw new Error(`secret "${name}" is in none of: ${places.join(', ')}`, { cause: error });
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
