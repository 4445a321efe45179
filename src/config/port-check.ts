import { asMapping } from './document.ts';
import type { YamlDocument } from './document.ts';
import { pathText } from './problem.ts';
import type { Problem } from './problem.ts';
import type { Profile } from './profile-schema.ts';
import { show } from './values.ts';

/**
 * Children that name a serial port which an earlier child has. Only Modbus children may share one, and only with equal
 * settings of the line. Works on unchecked data, so that it never comes second.
 */
export function sharedPortProblems(document: YamlDocument, root: unknown, profile: Profile): Problem[] {
  const children = asMapping(root)?.['children'];
  if (!Array.isArray(children)) return [];
  const owners = new Map<string, { readonly id: unknown; readonly serial: Record<string, unknown> }>();
  return children.flatMap((child: unknown, index): Problem[] => {
    const serial = asMapping(asMapping(child)?.['serial']);
    const name = serial?.['port'];
    if (serial === undefined || name === undefined) return [];
    const id = asMapping(child)?.['id'];
    const device = typeof name === 'string' ? devices(profile, name) : JSON.stringify(name);
    const owner = owners.get(device);
    if (owner === undefined) {
      owners.set(device, { id, serial });
      return [];
    }
    const at = (key: string, message: string): Problem => {
      const path = ['children', index, 'serial', key];
      return { path: pathText(path), ...document.atValue(path, message) };
    };
    const shown = typeof name !== 'string' ? device : name === device ? show(name) : `${show(name)} (${device})`;
    if (!isModbus(serial) || !isModbus(owner.serial)) {
      return [at('port', `${shown} is the port of ${show(owner.id)} already; only modbus children share one`)];
    }
    return Object.entries(LINE_KEYS).flatMap(([key, standard]) => {
      const here = serial[key] ?? standard;
      const there = owner.serial[key] ?? standard;
      if (JSON.stringify(here) === JSON.stringify(there)) return [];
      const message = `${show(here)} differs from ${show(owner.id)}, which has ${show(there)} on the same port`;
      return [at(Object.hasOwn(serial, key) ? key : 'port', message)];
    });
  });
}

/**
 * What a port may be, as text. Not which of these is there now: a configuration must not be refused tomorrow since an
 * adapter is plugged in elsewhere.
 */
function devices(profile: Profile, port: string): string {
  return Object.hasOwn(profile.serial, port) ? [profile.serial[port] ?? []].flat().join(' or ') : port;
}

/** What all children of one line must agree on, and what it is when left out. */
const LINE_KEYS = { baudRate: 9600, dataBits: 8, parity: 'none', stopBits: 1, rs485: undefined };

function isModbus(serial: Record<string, unknown>): boolean {
  return asMapping(serial['decoder'])?.['modbus'] !== undefined;
}
