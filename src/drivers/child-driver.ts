import { gpioLine, serialDevice } from '../config/profile.ts';
import type { Profile } from '../config/profile-schema.ts';
import type { ChildConfig } from '../config/schema.ts';
import { catalogue, type DriverKind, type DriverOptions } from './catalogue.ts';
import type { Driver, DriverContext } from './driver.ts';
import type { Surroundings } from './host-metrics.ts';

/** The kind of a child, and how its driver is made. */
export function driverOf(
  child: ChildConfig,
  profile: Profile,
  around: Surroundings,
): { kind: DriverKind; create: (context: DriverContext) => Driver } {
  const made = <Kind extends DriverKind>(kind: Kind, options: DriverOptions[Kind]) => ({
    kind,
    create: (context: DriverContext) => catalogue[kind].create(options, context),
  });
  if (child.simulated !== undefined) return made('simulated', child.simulated);
  if (child.host !== undefined) return made('host', { everyMs: child.host.every, metrics: child.host.metrics, around });
  if (child.serial !== undefined) {
    const { serial } = child;
    // Looked for at each start: of a port's paths another one may be there after it was plugged in again.
    const options = () => ({ ...serial, port: serialDevice(profile, serial.port) ?? serial.port });
    return { kind: 'serial', create: (context) => catalogue.serial.create(options(), context) };
  }
  if (child.gpio !== undefined) {
    const { line, count, ...gpio } = child.gpio;
    const place = gpioLine(profile, line);
    if (place === undefined) throw new Error(`${child.id}: the profile has no line ${JSON.stringify(line)}`);
    const name = typeof line === 'string' ? line : `${line.chip}:${line.offset}`;
    return made('gpio', { ...gpio, line: { name, ...place }, ...(count && { countEveryMs: count.every }) });
  }
  throw new Error(`${child.id} has no kind`);
}
