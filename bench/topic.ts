import { ulid, ulidText } from '../src/message/ulid.ts';

/** Where every contender publishes: a topic as Holdfast makes them. */
export const TOPIC = 'holdfast/v1/line-4/press-1/events';

/** What Holdfast sends beside a body, in MQTT.js's form; the same for each message. */
export function typicalProperties() {
  const pairs = typicalPairs();
  const userProperties: Record<string, string> = {};
  for (let i = 0; i < pairs.length; i += 2) userProperties[pairs[i]!] = pairs[i + 1]!;
  return { contentType: 'application/json', userProperties };
}

/** The same as name, value, name, value ... */
export function typicalPairs(): string[] {
  const now = Date.now();
  const time = new Date(now).toISOString();
  const id = ulidText(ulid(now));
  return ['id', id, 'epoch', '1', 'lane', '10', 'seq', '50000', 't', time, 'at', time, 'clock', 'synced'];
}
