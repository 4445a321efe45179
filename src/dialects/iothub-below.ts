import type { EventSaid, LowerEventSaid, Place, Said } from './child-dialect.ts';
import { lossesTopic, ORIGIN, originIn, originText } from './holdfast.ts';
import { LANES } from '../message/message.ts';
import { ownDown } from './iothub-own.ts';
import { isName } from './topic-filter.ts';

/*
 * What a gateway below us says as a device of Azure IoT Hub: its children's messages, which say in their properties whose they are
 * (iothub-upstream.ts), become theirs again.
 */
const OURS = 'holdfast-';

/** `gateway` has said this. What says nothing of a child is its own. */
export function lowerSaidAsDevice(gateway: string, said: EventSaid): Said {
  const ours = new Map<string, string>();
  const { body, contentType, contentEncoding, eventTime } = said;
  for (const [name, value] of Object.entries(said.properties))
    if (name.startsWith(OURS)) ours.set(name.slice(OURS.length), value);
  const properties = ownDown(said.properties);
  if (ours.get('type') === 'loss') return losses(gateway, body);
  const [child = gateway, module, output] = [ours.get('child'), ours.get('module'), ours.get('output')];
  for (const name of [child, module, output])
    if (name !== undefined && !isName(name)) return { kind: 'nothing', why: 'properties with no name of a child' };
  const place = placeIn(ours);
  const first = originIn(ours.get('origin') ?? '') ?? (place === null ? null : { gateway, ...place });
  delete properties[ORIGIN];
  if (first !== null) properties[ORIGIN] = originText(first);
  // Where the child had given none, the gateway has.
  if (properties['messageId'] === ours.get('id')) delete properties['messageId'];
  const at = ours.get('clock') === 'unknown' ? Number.NaN : Date.parse(ours.get('at') ?? '');
  const hops = Number(ours.get('hops') ?? 0);
  return {
    kind: 'lower event',
    gateway,
    source: {
      child,
      ...(module === undefined ? {} : { module }),
      ...(output === undefined ? {} : { output }),
    },
    body,
    properties,
    place,
    id: ours.get('id') ?? '',
    hops: Number.isInteger(hops) && hops >= 0 ? hops : 0,
    ...(contentType === undefined ? {} : { contentType }),
    ...(contentEncoding === undefined ? {} : { contentEncoding }),
    ...timeOf(eventTime ?? at),
  } satisfies LowerEventSaid;
}

function losses(gateway: string, body: Buffer): Said {
  const publication = { topic: lossesTopic(gateway), body, contentType: 'application/json' };
  return { kind: 'lower word', gateway, what: 'losses', publication };
}

function placeIn(ours: ReadonlyMap<string, string>): Place | null {
  const [epoch = Number.NaN, lane = Number.NaN, seq = Number.NaN] = ['epoch', 'lane', 'seq'].map((name) =>
    Number(ours.get(name)),
  );
  const whole = [epoch, lane, seq].every((each) => Number.isSafeInteger(each) && each >= 0);
  return whole && lane < LANES && epoch < 2 ** 32 ? { epoch, lane, seq } : null;
}

function timeOf(eventTime: number): { readonly eventTime?: number } {
  return Number.isNaN(eventTime) ? {} : { eventTime };
}
