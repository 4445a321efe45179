import { gpioLine, serialDevice } from '../config/profile.ts';
import type { Profile } from '../config/profile-schema.ts';
import type { ChildConfig, SerialConfig } from '../config/schema.ts';
import { catalogue, type DriverKind, type DriverOptions } from './catalogue.ts';
import type { Driver, DriverContext } from './driver.ts';
import type { Surroundings } from './host-metrics.ts';
import type { PortName, SerialPorts } from './serial-ports.ts';

/** The kind of a child, and how its driver is made; `ports` are those of the whole gateway. */
export function driverOf(
  child: ChildConfig,
  profile: Profile,
  ports: SerialPorts,
  around: Surroundings,
): { kind: DriverKind; create: (context: DriverContext) => Driver } {
  const made = <Kind extends DriverKind>(kind: Kind, options: DriverOptions[Kind]) => ({
    kind,
    create: (context: DriverContext) => catalogue[kind].create(options, context, ports),
  });
  if (child.simulated !== undefined) return made('simulated', child.simulated);
  if (child.host !== undefined) return made('host', { everyMs: child.host.every, metrics: child.host.metrics, around });
  if (child.serial !== undefined) {
    const { serial } = child;
    const { port } = serial;
    // Looked for at each start: of a port's paths another one may be there after it was plugged in again.
    const options = () => {
      const name = typeof port === 'string' ? (serialDevice(profile, port) ?? port) : port;
      return serialOptions(serial, name);
    };
    return { kind: 'serial', create: (context) => catalogue.serial.create(options(), context, ports) };
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

function serialOptions({ reopenAfter, decoder, ...line }: SerialConfig, port: PortName): DriverOptions['serial'] {
  const settings = { ...line, port, reopenAfterMs: reopenAfter };
  if (decoder.kind !== 'modbus') return { ...settings, decoder };
  const { every, ...modbus } = decoder;
  return { ...settings, decoder: { ...modbus, everyMs: every } };
}
