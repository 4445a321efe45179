import type { Clock, Timer } from '../clock/clock.ts';
import { readJson } from '../message/json.ts';

/** What a command came to. `status` follows HTTP's numbers. */
export interface CommandResult {
  readonly status: number;
  readonly payload: unknown;
  /** Not its own answer: the gateway's, who could not get one from it. */
  readonly failed?: true;
}

/** Someone who takes commands: a wired child's driver, or the gateway itself. */
export interface Target {
  /** `id`: the same when a command comes a second time; absent where the sender gives none. */
  command(name: string, payload: unknown, id?: string): Promise<CommandResult>;
}

/** Where connected children are reached: the hub. */
export interface ConnectedTargets {
  /** Rejects never; 404 when it is not connected or takes no methods, 504 when it does not answer in time. */
  method(
    child: string,
    module: string | null,
    name: string,
    payload: unknown,
    timeoutSecs: number,
    id?: string,
  ): Promise<CommandResult>;
}

/** Seconds a command may take when its sender does not say. */
export const RESPONSE_TIMEOUT_SECS = 30;
export const RESPONSE_TIMEOUT_SECS_MAX = 300;
/** Largest payload of a command, as JSON, bytes (Azure IoT Hub's limit for direct methods). */
export const PAYLOAD_BYTES_MAX = 128 * 1024;

/** Direct methods and commands, wherever they come from, to whoever they are for. */
export class Commands {
  readonly #clock: Clock;
  readonly #targets = new Map<string, Target>();
  #connected: ConnectedTargets | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  register(id: string, target: Target): void {
    this.#targets.set(id, target);
  }

  /** Whoever is not registered here is sought among connected children. */
  seekAmong(connected: ConnectedTargets): void {
    this.#connected = connected;
  }

  /**
   * `id`: a child's or the gateway's, or `child/module` for a module that is connected. Never rejects: 404 nobody of that name, 413
   * the payload is too large, 504 no answer in time, 500 the target failed.
   */
  async invoke(
    id: string,
    name: string,
    payload: unknown,
    timeoutSecs = RESPONSE_TIMEOUT_SECS,
    commandId?: string,
  ): Promise<CommandResult> {
    const secs = Math.min(Math.max(timeoutSecs, 1), RESPONSE_TIMEOUT_SECS_MAX);
    const target = this.#targets.get(id) ?? this.#amongConnected(id, secs);
    if (target === null) return failure(404, `there is no child "${id}"`);
    const bytes = Buffer.byteLength(JSON.stringify(payload) ?? '');
    if (bytes > PAYLOAD_BYTES_MAX)
      return failure(413, `the payload has ${bytes} bytes; it may have ${PAYLOAD_BYTES_MAX}`);
    let timer: Timer | null = null;
    const deadline = new Promise<CommandResult>((resolve) => {
      timer = this.#clock.after(secs * 1000, () => resolve(failure(504, `"${id}" did not answer within ${secs} s`)));
    });
    try {
      return await Promise.race([target.command(name, payload, commandId), deadline]);
    } catch (error) {
      return failure(500, (error as Error).message);
    } finally {
      (timer as Timer | null)?.cancel();
    }
  }

  #amongConnected(id: string, timeoutSecs: number): Target | null {
    const connected = this.#connected;
    if (connected === null) return null;
    const slash = id.indexOf('/');
    const [child, module] = slash < 0 ? [id, null] : [id.slice(0, slash), id.slice(slash + 1)];
    return {
      command: (name, payload, commandId) => connected.method(child, module, name, payload, timeoutSecs, commandId),
    };
  }

  /**
   * Answers a direct method that came as bytes, JSON `{payload, responseTimeoutSecs, sentAt}`. Null: its deadline had passed
   * before it arrived, and nobody waits for an answer.
   */
  async answer(id: string, name: string, body: Buffer): Promise<Buffer | null> {
    let request: { payload?: unknown; responseTimeoutSecs?: unknown; sentAt?: unknown } = {};
    try {
      if (body.length > 0) request = (readJson(body.toString('utf8')) as typeof request | null) ?? {};
    } catch (error) {
      return encode(failure(400, `the request is not JSON: ${(error as Error).message}`));
    }
    const secs = typeof request.responseTimeoutSecs === 'number' ? request.responseTimeoutSecs : RESPONSE_TIMEOUT_SECS;
    const sentAt =
      typeof request.sentAt === 'string' ? Date.parse(request.sentAt) : Number(request.sentAt ?? Number.NaN);
    // Only a known clock can tell that a request is too old.
    if (this.#clock.known() && sentAt + secs * 1000 < this.#clock.wall()) return null;
    return encode(await this.invoke(id, name, request.payload ?? null, secs));
  }
}

function failure(status: number, error: string): CommandResult {
  return { status, payload: { error }, failed: true };
}

function encode(result: CommandResult): Buffer {
  return Buffer.from(JSON.stringify({ status: result.status, payload: result.payload ?? null }));
}
