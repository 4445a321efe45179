import { readFileSync } from 'node:fs';
import { identityIn } from '../registry/exported-identity.ts';
import { atDesk } from './children-desk.ts';
import { configured, type CommonOptions } from './configured.ts';
import { CliError, FINE, FOUND_A_PROBLEM, printable, printJson, say } from './output.ts';

/** Largest file, bytes. */
const FILE_BYTES_MAX = 16 * 2 ** 20;

/** `holdfast children import FILE`: many children at once. Those that cannot be added are said, the others are added. */
export async function importChildren(file: string, options: CommonOptions): Promise<number> {
  const forms = formsIn(file);
  const where = configured(options.config);
  const imported: string[] = [];
  const failed: { id: string; why: string }[] = [];
  await atDesk(where, async (desk) => {
    for (const [index, form] of forms.entries()) {
      const read = identityIn(form);
      if ('fault' in read) {
        failed.push({ id: read.id ?? `number ${index + 1}`, why: read.fault });
        continue;
      }
      try {
        await desk({ do: 'add', identity: read.identity });
        imported.push(read.identity.id);
      } catch (error) {
        failed.push({ id: read.identity.id, why: (error as Error).message });
      }
    }
  });
  if (options.json === true) printJson({ imported, failed });
  for (const { id, why } of failed) say(`${printable(id)}: ${printable(why)}`);
  say(`${imported.length} children imported${failed.length === 0 ? '' : `, ${failed.length} not`}`);
  return failed.length === 0 ? FINE : FOUND_A_PROBLEM;
}

/** A JSON text (a list, or a document with `children`), or one JSON text a line. */
export function formsIn(file: string): readonly unknown[] {
  let text: string;
  try {
    const bytes = readFileSync(file === '-' ? 0 : file);
    if (bytes.length > FILE_BYTES_MAX) throw new CliError(`${file}: has more than ${FILE_BYTES_MAX} bytes`);
    text = bytes.toString('utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  try {
    const whole = JSON.parse(text) as unknown;
    if (Array.isArray(whole)) return whole;
    const { children } = (whole ?? {}) as { children?: unknown };
    return Array.isArray(children) ? children : [whole];
  } catch {
    return text
      .split('\n')
      .map((line, index) => ({ line, number: index + 1 }))
      .filter(({ line }) => line.trim() !== '')
      .map(({ line, number }) => {
        try {
          return JSON.parse(line) as unknown;
        } catch {
          // What stands there may be a key.
          throw new CliError(`${file}:${number}: is no JSON`);
        }
      });
  }
}
