import { once } from 'node:events';
import { open, type FileHandle } from 'node:fs/promises';
import type { Exchanged } from '../message/exchange.ts';
import { CliError } from './output.ts';
import { cannotWrite } from './output-file.ts';

export type Format = 'jsonl' | 'csv';

/** How messages are written: what stands before all of them, and one of them with its end of line. */
interface Form {
  readonly head: string;
  readonly line: (message: Exchanged) => string;
}

const COLUMNS = [
  ...(['lane', 'epoch', 'seq', 'id', 'child', 'module', 'output', 'eventTime', 'acceptedAt', 'clock'] as const),
  ...(['expiresAfterSecs', 'hops', 'contentType', 'contentEncoding'] as const),
] as const;

export const FORMS: Readonly<Record<Format, Form>> = {
  jsonl: { head: '', line: (message) => `${JSON.stringify(message)}\n` },
  csv: {
    head: row([...COLUMNS, 'properties', 'body', 'bodyEncoding']),
    line: (message) => {
      const [body, encoding] = csvBody(message.body);
      const properties = Object.keys(message.properties).length === 0 ? '' : JSON.stringify(message.properties);
      return row([...COLUMNS.map((column) => String(message[column] ?? '')), properties, body, encoding]);
    },
  },
};

/** RFC 4180: fields with a comma, a quote or an end of line in quotes, quotes doubled, lines that end with CRLF. */
function row(fields: readonly string[]): string {
  const quoted = fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field));
  return `${quoted.join(',')}\r\n`;
}

function csvBody(body: unknown): [text: string, encoding: 'utf8' | 'base64'] {
  if (typeof body === 'string') return [body, 'utf8'];
  const { base64 } = (body ?? {}) as { base64?: unknown };
  if (typeof base64 === 'string' && Object.keys(body as object).length === 1) return [base64, 'base64'];
  return [JSON.stringify(body), 'utf8'];
}

/** A file, or standard output, that is written no faster than it is taken. */
export class ExportFile {
  readonly #path: string;
  readonly #file: FileHandle | null;

  private constructor(path: string, file: FileHandle | null) {
    this.#path = path;
    this.#file = file;
  }

  /** Makes the file anew; standard output when there is no name or it is `-`. */
  static async open(path: string | undefined): Promise<ExportFile> {
    if (path === undefined || path === '-') return new ExportFile('-', null);
    try {
      // What sensors say is for those who may read the gateway's own files.
      return new ExportFile(path, await open(path, 'w', 0o640));
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  async write(text: string): Promise<void> {
    if (text === '') return;
    try {
      if (this.#file !== null) await this.#file.appendFile(text);
      else if (!process.stdout.write(text)) await once(process.stdout, 'drain');
    } catch (error) {
      if (this.#file !== null) throw cannotWrite(this.#path, error);
      throw new CliError(`cannot write the export: ${(error as Error).message}`);
    }
  }

  /** What went into a file is on the medium when it resolves. */
  async close(): Promise<void> {
    try {
      await this.#file?.sync();
      await this.#file?.close();
    } catch (error) {
      // A pipe or a terminal has no medium.
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    }
  }
}
