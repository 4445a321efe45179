import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { REQUEST_BYTES_MAX } from '../health/control-server.ts';
import type { Imported } from '../health/requests.ts';
import { incoming, NoMessage, type Incoming } from '../message/exchange.ts';
import { takeIn } from '../spool/intake.ts';
import { configured, type CommonOptions, type Configured } from './configured.ts';
import { askOne } from './control-client.ts';
import { CliError, FINE, FOUND_A_PROBLEM, printJson, say } from './output.ts';
import { Progress } from './progress.ts';
import { gatewayRuns } from './spool-source.ts';
import { inStoppedSpool } from './stopped-spool.ts';
import { textLines } from './text-lines.ts';

/** What is handed over at once: so many messages or bytes, whatever is first. */
const BATCH_MESSAGES_MAX = 500;
const BATCH_BYTES_MAX = REQUEST_BYTES_MAX / 2;
/** Bytes of a request besides its messages. */
const REQUEST_EXTRA_BYTES = 100;
/** A slow card with much to do takes its time to make a batch durable, ms. */
const BATCH_MS_MAX = 120_000;
/** Refused lines that are said one by one. */
const SAID_MAX = 100;

/** A line that is a message, as it goes over the socket. */
interface Ready {
  readonly number: number;
  readonly message: Incoming;
  readonly form: object;
  /** Of the form as JSON. */
  readonly bytes: number;
}

/** Takes a batch in; for each null when it is durable, or why it was not taken. */
type Taker = (batch: readonly Ready[]) => Promise<Imported>;

/**
 * `holdfast spool import`: gives exported messages to the gateway that runs, or puts them into the spool of one that does not. What is
 * counted as imported is durable. Ends with 1 when a line was refused.
 */
export async function spoolImport(file: string, options: CommonOptions): Promise<number> {
  const where = configured(options.config);
  // Opened before anything else: whoever we become later may not be able to.
  const input = await opened(file);
  if (await gatewayRuns(where)) return new Import(input, options, (batch) => ask(where, batch)).run();
  return inStoppedSpool(where, (spool) => {
    say('no gateway is running; the messages go into its spool');
    const taker: Taker = (batch) =>
      takeIn(
        spool,
        batch.map(({ message }) => message),
      );
    return new Import(input, options, taker).run();
  });
}

class Import {
  readonly #input: Readable;
  readonly #options: CommonOptions;
  readonly #taker: Taker;
  readonly #progress = new Progress('messages imported');
  #batch: Ready[] = [];
  #bytes = 0;
  #refused = 0;

  constructor(input: Readable, options: CommonOptions, taker: Taker) {
    this.#input = input;
    this.#options = options;
    this.#taker = taker;
  }

  async run(): Promise<number> {
    let failure: string | null = null;
    try {
      for await (const { number, text } of textLines(this.#input)) {
        if (text !== null && text.trim() === '') continue;
        await this.#line(number, text);
      }
      await this.#send();
    } catch (error) {
      failure = (error as Error).message;
    }
    this.#progress.end();
    const { count: imported } = this.#progress;
    if (this.#refused > SAID_MAX) say(`and ${this.#refused - SAID_MAX} more`);
    if (failure !== null) {
      const [first, last] = [this.#batch[0]?.number, this.#batch.at(-1)?.number];
      const unsure = first === undefined ? '' : `; lines ${first} to ${last} may have been taken, or not`;
      say(`stopped: ${failure}${unsure}`);
    }
    if (this.#options.json === true) printJson({ imported, refused: this.#refused });
    say(`${imported} messages imported, ${this.#refused} refused`);
    return this.#refused === 0 && failure === null ? FINE : FOUND_A_PROBLEM;
  }

  async #line(number: number, text: string | null): Promise<void> {
    const ready = text === null ? 'it is longer than any message, or no UTF-8' : readLine(number, text);
    if (typeof ready === 'string') {
      this.#refuse(number, ready);
      return;
    }
    const { bytes } = ready;
    if (bytes + REQUEST_EXTRA_BYTES > REQUEST_BYTES_MAX) {
      this.#refuse(number, `with its properties it is larger than ${REQUEST_BYTES_MAX} bytes`);
      return;
    }
    if (this.#batch.length === BATCH_MESSAGES_MAX || (this.#bytes > 0 && this.#bytes + bytes > BATCH_BYTES_MAX))
      await this.#send();
    this.#batch.push(ready);
    this.#bytes += bytes;
  }

  /** One batch after the other, so that the order in a lane is kept. */
  async #send(): Promise<void> {
    if (this.#batch.length === 0) return;
    const answers = await this.#taker(this.#batch);
    answers.forEach((why, n) => {
      if (why !== null) this.#refuse(this.#batch[n]!.number, why);
    });
    this.#progress.add(answers.filter((why) => why === null).length);
    this.#batch = [];
    this.#bytes = 0;
  }

  #refuse(number: number, why: string): void {
    this.#refused++;
    this.#progress.end();
    if (this.#refused <= SAID_MAX) say(`line ${number}: not taken: ${why}`);
  }
}

/** Reads one line; a string says why it is no message. */
function readLine(number: number, text: string): Ready | string {
  let form: unknown;
  try {
    form = JSON.parse(text);
  } catch {
    return 'it is no JSON';
  }
  try {
    const message = incoming(form);
    const body = { base64: message.message.body.toString('base64') };
    const wire = { ...(form as object), body };
    return { number, message, form: wire, bytes: Buffer.byteLength(JSON.stringify(wire)) + 1 };
  } catch (error) {
    if (error instanceof NoMessage) return error.message;
    throw error;
  }
}

function ask(where: Configured, batch: readonly Ready[]): Promise<Imported> {
  const messages = batch.map(({ form }) => form);
  return askOne<Imported>(where, 'spool import', { messages }, { silenceMsMax: BATCH_MS_MAX });
}

function opened(file: string): Promise<Readable> {
  if (file === '-') return Promise.resolve(process.stdin);
  return new Promise((resolve, reject) => {
    const stream = createReadStream(file);
    stream.once('open', () => resolve(stream));
    stream.once('error', (error) => reject(new CliError(`cannot read what to import: ${error.message}`)));
  });
}
