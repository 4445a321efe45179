import { connect, type Socket } from 'node:net';
import { ownControlPath } from '../config/control-path.ts';
import type { Whereabouts } from './configured.ts';
import { CliError } from './output.ts';

/** A gateway that says nothing for so long hangs, or its board is very busy, ms. */
const SILENCE_MS_MAX = 10_000;
/** A gateway that has no place for one more tool shows it the door at once; who was let in for so long, ms, has been heard. */
const TURNED_AWAY_MS_MAX = 1000;

/** Nobody answers on the socket. */
export class NoGateway extends CliError {
  constructor({ socket, named }: Whereabouts) {
    super(
      `no gateway is running with this configuration (nothing answers on ${socket}); start it with: holdfast run -c ${named}`,
    );
  }
}

export interface AskOptions {
  /** Longest silence before we give up, ms; Infinity for a follower. */
  readonly silenceMsMax?: number;
  /** Ends the asking; what was asked then just ends. */
  readonly signal?: AbortSignal;
}

/**
 * Asks the running gateway, and yields the items of its answer as they come. Throws {@link NoGateway} when there is none,
 * and a CliError with the gateway's own words when it refuses.
 */
export async function* ask<Item>(
  where: Whereabouts,
  request: string,
  args: Readonly<Record<string, unknown>> = {},
  { silenceMsMax = SILENCE_MS_MAX, signal }: AskOptions = {},
): AsyncGenerator<Item, void, void> {
  const socket = await connected(where);
  const since = performance.now();
  let answered = false;
  const abort = () => socket.destroy();
  signal?.addEventListener('abort', abort);
  if (signal?.aborted === true) abort();
  if (silenceMsMax !== Infinity) {
    socket.setTimeout(silenceMsMax, () =>
      socket.destroy(
        new CliError(`the gateway on ${where.socket} does not answer: nothing for ${silenceMsMax / 1000} s`),
      ),
    );
  }
  try {
    socket.write(`${JSON.stringify({ request, ...args })}\n`);
    for await (const line of lines(socket)) {
      const answer = JSON.parse(line) as { item: Item } | { end: true } | { error: string };
      if ('end' in answer) return;
      if ('error' in answer) throw new CliError(answer.error);
      answered = true;
      yield answer.item;
    }
  } catch (error) {
    if (signal?.aborted === true) return;
    if (error instanceof CliError) throw error;
    // ECONNRESET and the like: said below, in words that mean something here.
  } finally {
    signal?.removeEventListener('abort', abort);
    socket.destroy();
  }
  if (signal?.aborted === true) return;
  // A follower's answer has no other end.
  if (silenceMsMax === Infinity && (answered || performance.now() - since > TURNED_AWAY_MS_MAX))
    throw new CliError('the gateway stopped');
  throw new CliError('the gateway went away before it had answered: it was stopped, or too many tools ask it at once');
}

/** For a request that is answered with one item. */
export async function askOne<Item>(
  where: Whereabouts,
  request: string,
  args: Readonly<Record<string, unknown>> = {},
  options: AskOptions = {},
): Promise<Item> {
  const items: Item[] = [];
  for await (const item of ask<Item>(where, request, args, options)) items.push(item);
  const [item] = items;
  if (item === undefined) throw new CliError(`the gateway answered "${request}" with nothing`);
  return item;
}

/** A socket in memory may be what is left of a gateway, of another user even: then the one that runs answers at its own place. */
async function connected(where: Whereabouts): Promise<Socket> {
  const own = { ...where, socket: ownControlPath(where.dataDir) };
  try {
    return await connectedTo(where);
  } catch (error) {
    if (!(error instanceof NoGateway) || own.socket === where.socket) throw error;
    return connectedTo(own);
  }
}

function connectedTo(where: Whereabouts): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(where.socket);
    socket.setEncoding('utf8');
    socket.once('connect', () => resolve(socket));
    socket.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') reject(new NoGateway(where));
      else if (code === 'EACCES' || code === 'EPERM') {
        reject(
          new CliError(
            `${where.socket} may not be used by this user; try it as root, or as the user that the gateway runs as`,
          ),
        );
      } else reject(new CliError(`cannot ask the gateway on ${where.socket}: ${message}`));
    });
  });
}

async function* lines(socket: Socket): AsyncGenerator<string, void, void> {
  let rest = '';
  for await (const chunk of socket as AsyncIterable<string>) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop()!;
    yield* parts;
  }
}
