import { randomBytes } from 'node:crypto';
import type { Clock } from '../clock/clock.ts';
import { PAYLOAD_BYTES_MAX, RESPONSE_TIMEOUT_SECS, RESPONSE_TIMEOUT_SECS_MAX } from '../commands/commands.ts';
import { methodTopics } from '../dialects/holdfast-operator.ts';
import { rfc3339, statusTopic } from '../dialects/holdfast.ts';
import type { Broker } from './broker.ts';
import { FleetError } from './fleet-error.ts';
import { gatewayView, objectIn } from './gateway-view.ts';
import { checked, type TwinOf } from './fleet-twins.ts';

/** What the way there and back may take beyond the method's own time, ms. */
const SLACK_MS = 5000;

export interface MethodResult {
  /** As HTTP's. */
  readonly status: number;
  readonly payload: unknown;
}

/**
 * Has a child, a module or a gateway do something. Rejects with a {@link FleetError} at once when its gateway is offline or
 * unknown, and when no answer comes in time; whether it was done is then not known.
 */
export async function invokeMethod(
  broker: Broker,
  clock: Clock,
  of: TwinOf,
  method: string,
  payload: unknown,
  timeoutSecs: number = RESPONSE_TIMEOUT_SECS,
): Promise<MethodResult> {
  const { gateway, child, module } = checked(of);
  if (!/^[^/+#\0]{1,128}$/.test(method)) throw new FleetError(`${JSON.stringify(method)} is no name of a method`);
  if (!(timeoutSecs >= 1 && timeoutSecs <= RESPONSE_TIMEOUT_SECS_MAX))
    throw new FleetError(`a method takes from 1 to ${RESPONSE_TIMEOUT_SECS_MAX} s, not ${timeoutSecs}`);
  const bytes = Buffer.byteLength(JSON.stringify(payload ?? null));
  if (bytes > PAYLOAD_BYTES_MAX)
    throw new FleetError(`the payload has ${bytes} bytes; it may have ${PAYLOAD_BYTES_MAX}`);
  const status = (await broker.retained([statusTopic(gateway)])).get(statusTopic(gateway));
  if (status === undefined) throw new FleetError(`no gateway ${gateway} has ever been seen at ${broker.url}`);
  const { state, since } = gatewayView(gateway, status);
  if (state === 'offline') throw new FleetError(`${gateway} is offline, since ${since ?? 'nobody knows when'}`);

  const { request, response } = methodTopics(
    gateway,
    child,
    module ?? null,
    method,
    randomBytes(9).toString('base64url'),
  );
  let answer: Buffer | null = null;
  const stop = await broker.follow([response], ({ body }) => (answer ??= body));
  try {
    const asked = { payload: payload ?? null, responseTimeoutSecs: timeoutSecs, sentAt: rfc3339(clock.wall()) };
    await broker.publish(request, Buffer.from(JSON.stringify(asked), 'utf8'), { qos: 0 });
    await broker.until(() => answer, timeoutSecs * 1000 + SLACK_MS);
  } finally {
    if (!broker.ended.aborted) await stop();
  }
  if (answer === null) throw new FleetError(`${gateway} did not answer within ${timeoutSecs} s; it may still be done`);
  const { status: code, payload: given = null } = objectIn(answer);
  if (typeof code !== 'number') throw new FleetError(`${gateway} answered what cannot be read`);
  return { status: code, payload: given };
}
