import * as fs from 'node:fs';
import { join } from 'node:path';
import { gpioLine, serialDevice } from '../../config/profile.ts';
import type { PortName } from '../../drivers/serial-ports.ts';
import { portHolder } from '../../drivers/port-holder.ts';
import { isTty } from '../../drivers/tty-drivers.ts';
import { usbPortPath } from '../../drivers/usb-port.ts';
import { groupName } from './accounts.ts';
import { fail, ok, skip, type Check, type Finding } from './check.ts';
import { gpioLineFinding } from './gpio.ts';
import type { Neighbour, Scene } from './scene.ts';

/** The group that Debian gives serial ports to. */
const SERIAL_GROUP = 'dialout';

/** Whether the hardware of each wired child is there. Nothing is opened: a port that is opened resets some devices. */
export function childChecks(scene: Scene): Check[] {
  const { loaded, user, gateway } = scene;
  // Without a configuration nobody knows the children.
  if (!('config' in loaded)) return [];
  const { config, profile } = loaded;
  return config.children.flatMap(({ id, serial, gpio }): Check[] => {
    if (serial !== undefined) {
      const { port } = serial;
      const named = typeof port === 'string' ? (serialDevice(profile, port) ?? port) : port;
      return [
        {
          id: `serial:${id}`,
          about: `the serial port of ${id} can be used`,
          needs: ['config'],
          run: () => serialPort(named, user, gateway),
        },
      ];
    }
    if (gpio !== undefined) {
      return [
        {
          id: `gpio:${id}`,
          about: `the GPIO line of ${id} can be used`,
          needs: ['config'],
          // A line that the profile does not have is a problem of the configuration, and was found there.
          run: () => gpioLineFinding(gpioLine(profile, gpio.line)!, gpio.bias, scene),
        },
      ];
    }
    return [];
  });
}

async function serialPort(named: PortName, user: string, gateway: Neighbour): Promise<Finding> {
  let port: string;
  try {
    port = typeof named === 'string' ? named : await usbPortPath(named.usb);
  } catch (error) {
    return fail((error as Error).message, 'plug it in; `holdfast serial probe` shows what is');
  }
  const found = fs.statSync(port, { throwIfNoEntry: false });
  if (found === undefined) {
    const there = serialPortsHere();
    return fail(
      `${port} is not there`,
      there.length === 0
        ? 'plug it in; this machine shows no serial port by id'
        : `plug it in, or name another: ${there.join(', ')}`,
    );
  }
  const path = 'name the path of a serial port, for example /dev/ttyUSB0';
  if (!found.isCharacterDevice()) return fail(`${port} is not a device`, path);
  if (!isTty(found.rdev)) return fail(`${port} is not a serial port`, path);
  try {
    fs.accessSync(port, fs.constants.R_OK | fs.constants.W_OK);
  } catch {
    return fail(`${user} may not read and write ${port}`, joinGroup(groupName(found.gid) ?? SERIAL_GROUP, user));
  }
  return (await taken(port, gateway)) ?? ok(`${port} is there, readable and writable`);
}

/** Null when nobody has locked the port, or the gateway itself has. Who only has it open, as a terminal that looks on, keeps nobody out. */
async function taken(port: string, gateway: Neighbour): Promise<Finding | null> {
  const holder = await portHolder(port);
  if (holder?.locked !== true || (gateway.is === 'running' && gateway.status.pid === holder.pid)) return null;
  const what = `${port} is in use by ${holder.text}`;
  if (gateway.is === 'silent') return skip(`${what}, which may be the gateway: it does not say`);
  return fail(what, 'stop that program, or name another port');
}

function joinGroup(group: string, user: string): string {
  return `sudo usermod -aG ${group} ${user}; then log in again, or restart the service`;
}

/** The stable names that udev gives to serial adapters. */
function serialPortsHere(): string[] {
  const dir = '/dev/serial/by-id';
  return fs.existsSync(dir) ? fs.readdirSync(dir).map((name) => join(dir, name)) : [];
}
