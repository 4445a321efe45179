import { exchanged } from '../message/exchange.ts';
import type { Stored } from '../message/message.ts';
import { timeIn } from '../spool/boot-table.ts';
import type { Books } from '../spool/books.ts';
import { messagesIn } from '../spool/export.ts';
import { booksIn, quarantinedFile, spoolFile, SpoolFiles } from '../spool/files.ts';
import { salvage } from '../spool/salvage.ts';
import { Complaints } from '../store/complaints.ts';
import { StoreError } from '../store/store-error.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { ExportFile, FORMS, type Format } from './export-file.ts';
import { CliError, FINE, FOUND_A_PROBLEM, printable, say } from './output.ts';
import { pinnedBy } from './pinned.ts';
import { Progress } from './progress.ts';
import { absentIsClear, gatewayRuns } from './spool-source.ts';

/** Problems that are said one by one. */
const SAID_MAX = 20;
/** Messages that are made into text at once. */
const SALVAGED_AT_ONCE = 100;

export interface ExportOptions extends CommonOptions {
  readonly format: Format;
  readonly lane?: number;
  readonly child?: string;
  readonly quarantine?: boolean;
  readonly deadLetters?: boolean;
  readonly output?: string;
}

/**
 * `holdfast spool export`: every message that waits, oldest first in each lane, read from the file by this process, of a gateway that
 * runs or does not, or of the spool in quarantine. Ends with 1 when something could not be read.
 */
export async function spoolExport(options: ExportOptions): Promise<number> {
  const where = configured(options.config);
  const running = options.quarantine !== true && (await gatewayRuns(where));
  const complaints = new Complaints();
  const out = await ExportFile.open(options.output);
  const progress = new Progress('messages exported');
  const to = new Export(options, out, progress);
  try {
    await to.head();
    if (running) await fromRunning(where, options, to, complaints);
    else await fromStopped(where, options, to, complaints);
    await out.close();
  } finally {
    progress.end();
  }
  complaints.listed.slice(0, SAID_MAX).forEach((problem) => say(printable(problem)));
  if (complaints.count > SAID_MAX) say(`and ${complaints.count - SAID_MAX} more`);
  const salvaged = to.salvaged > 0 ? `, ${to.salvaged} of them salvaged` : '';
  const problems = complaints.count > 0 ? `; ${complaints.count} problems: there may have been more` : '';
  say(`${progress.count} messages exported${salvaged}${problems}`);
  return complaints.count === 0 ? FINE : FOUND_A_PROBLEM;
}

/** Where the messages go, in their form. */
class Export {
  readonly #options: ExportOptions;
  readonly #out: ExportFile;
  readonly #progress: Progress;
  salvaged = 0;

  constructor(options: ExportOptions, out: ExportFile, progress: Progress) {
    this.#options = options;
    this.#out = out;
    this.#progress = progress;
  }

  head(): Promise<void> {
    return this.#out.write(FORMS[this.#options.format].head);
  }

  /** Writes what is asked for of these; resolves when there is room for more. */
  async write(stored: readonly Stored[], books: Books | null): Promise<void> {
    const { child, format } = this.#options;
    const wanted = child === undefined ? stored : stored.filter(({ message }) => message.source.child === child);
    if (wanted.length === 0) return;
    const { line } = FORMS[format];
    const text = wanted.map((each) => line(exchanged(each, timeIn(books?.boots ?? [], each.message.acceptedAt))));
    await this.#out.write(text.join(''));
    this.#progress.add(wanted.length);
  }
}

async function fromRunning(
  where: Configured,
  options: ExportOptions,
  to: Export,
  complaints: Complaints,
): Promise<void> {
  let files: SpoolFiles;
  try {
    files = await SpoolFiles.running(where.dataDir, pinnedBy(where), (error) => complaints.add(error.message));
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new CliError(`${error.message}; try it as root, or as the user that the gateway runs as`);
  }
  await all(files, options, to, complaints);
}

async function fromStopped(
  where: Configured,
  options: ExportOptions,
  to: Export,
  complaints: Complaints,
): Promise<void> {
  const path = options.quarantine === true ? quarantinedFile(where.dataDir) : spoolFile(where.dataDir);
  const complain = (error: StoreError) => complaints.add(error.message);
  let books: Books | null = null;
  try {
    const open = () => Promise.resolve(SpoolFiles.stopped(path, complain));
    const files = await (options.quarantine === true ? inQuarantine(where, open) : absentIsClear(where, open));
    const walkable = await files.look((file) => {
      try {
        books = booksIn(file);
      } catch (error) {
        // Where the file is damaged, that is why.
        complaints.add(complaints.count > 0 ? 'the books cannot be read' : (error as Error).message);
      }
      return file.walkable();
    });
    if (walkable) {
      await all(files, options, to, complaints);
      return;
    }
    files.close();
  } catch (error) {
    if (!(error instanceof StoreError) || (error.fault !== 'damaged' && error.fault !== 'io')) throw error;
    complaints.add(error.message);
  }
  await salvaged(path, books, options, to, complaints);
}

async function all(files: SpoolFiles, options: ExportOptions, to: Export, complaints: Complaints): Promise<void> {
  try {
    const complain = (problem: string) => complaints.add(problem);
    const { lane, deadLetters } = options;
    for await (const { stored, books } of messagesIn(files, { lane, deadLetters }, () => performance.now(), complain)) {
      await to.write(stored, books);
    }
  } finally {
    files.close();
  }
}

/** What begins like a block anywhere in the file. */
async function salvaged(
  path: string,
  books: Books | null,
  options: ExportOptions,
  to: Export,
  complaints: Complaints,
): Promise<void> {
  complaints.add(`${path} cannot be walked in order`);
  say('the file is damaged: it is searched for blocks of messages; some may have been delivered or dropped before');
  if (options.deadLetters === true) say('dead letters cannot be told from other messages there; all are exported');
  let together: Stored[] = [];
  for (const stored of salvage(path, books, (error) => complaints.add(error.message))) {
    if (options.lane !== undefined && stored.lane !== options.lane) continue;
    to.salvaged++;
    together.push(stored);
    if (together.length < SALVAGED_AT_ONCE) continue;
    await to.write(together, books);
    together = [];
  }
  await to.write(together, books);
}

async function inQuarantine<T>({ dataDir }: Configured, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof StoreError) || error.fault !== 'absent') throw error;
    throw new CliError(`there is no spool in quarantine in ${dataDir}`);
  }
}
