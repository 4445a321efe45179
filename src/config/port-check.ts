import { asMapping } from './document.ts';
import type { YamlDocument } from './document.ts';
import { pathText } from './problem.ts';
import type { Problem } from './problem.ts';
import { gpioLine } from './profile.ts';
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
      const here = settingText(serial[key] ?? standard);
      const there = settingText(owner.serial[key] ?? standard);
      if (here === there) return [];
      const message = `${here} differs from ${show(owner.id)}, which has ${there} on the same port`;
      return [at(Object.hasOwn(serial, key) ? key : 'port', message)];
    });
  });
}

/** Children that name a GPIO line which an earlier child has: two would drive one output. Works on unchecked data, too. */
export function sharedLineProblems(document: YamlDocument, root: unknown, profile: Profile): Problem[] {
  const children = asMapping(root)?.['children'];
  if (!Array.isArray(children)) return [];
  const owners = new Map<string, unknown>();
  return children.flatMap((child: unknown, index): Problem[] => {
    const name = asMapping(asMapping(child)?.['gpio'])?.['line'];
    const line = typeof name === 'string' ? gpioLine(profile, name) : asMapping(name);
    if (!line) return [];
    const id = asMapping(child)?.['id'];
    const key = JSON.stringify([line['chip'], line['offset']]);
    if (!owners.has(key)) {
      owners.set(key, id);
      return [];
    }
    const path = ['children', index, 'gpio', 'line'];
    const shown = typeof name === 'string' ? show(name) : `line ${show(line['offset'])} of ${show(line['chip'])}`;
    const message = `${shown} is the line of ${show(owners.get(key))} already; a line has one child`;
    return [{ path: pathText(path), ...document.atValue(path, message) }];
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

/** The same of `rs485`. */
const RS485_KEYS = { rtsOnSend: 'high', delayBeforeMs: 0, delayAfterMs: 0 };

/** A setting of the line as it is compared, and shown: equal ones are, in whatever order and however much of it is written. */
function settingText(setting: unknown): string {
  if (setting === undefined) return 'nothing';
  const rs485 = asMapping(setting);
  if (rs485 === undefined) return show(setting);
  const keys = Object.entries(RS485_KEYS).map(([key, standard]) => `${key}: ${show(rs485[key] ?? standard)}`);
  return `{ ${keys.join(', ')} }`;
}

function isModbus(serial: Record<string, unknown>): boolean {
  return asMapping(serial['decoder'])?.['modbus'] !== undefined;
}
