import { noProperties } from './bag.ts';

/*
 * Where a gateway is a device of an IoT Hub, properties that begin with `holdfast-` are its own words about a message. A child's own
 * property that begins so, too, travels with `p-` before it, and so does one that has `p-` there already: none passes itself off as
 * the gateway's, and each comes back as it was. In any case of letters: whoever evaluates them in the cloud may not look at that.
 */
const OURS = /^(?:p-)*holdfast-/i;
const PREFIX = 'p-';

/** A message's own properties as they go up. */
export function ownUp(properties: Readonly<Record<string, string>>): Record<string, string> {
  const renamed = noProperties();
  for (const [name, value] of Object.entries(properties)) renamed[OURS.test(name) ? PREFIX + name : name] = value;
  return renamed;
}

/** The same backwards. The gateway's words are left out. */
export function ownDown(properties: Readonly<Record<string, string>>): Record<string, string> {
  const renamed = noProperties();
  for (const [name, value] of Object.entries(properties)) {
    if (!OURS.test(name)) renamed[name] = value;
    else if (name.startsWith(PREFIX)) renamed[name.slice(PREFIX.length)] = value;
  }
  return renamed;
}
