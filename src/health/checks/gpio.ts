import * as fs from 'node:fs';
import { join } from 'node:path';
import { CONSUMER, lookAtCharacterLine } from '../../drivers/gpio-character.ts';
import { sysfsNumber } from '../../drivers/gpio-chip.ts';
import { type GpioKernel, linuxGpio } from '../../drivers/gpio-kernel.ts';
import { type LinePlace, NoSuchWay } from '../../drivers/gpio-line.ts';
import { fail, ok, warn, type Finding } from './check.ts';
import type { Scene } from './scene.ts';

const GROUP = 'gpio';
const LOOK_AGAIN =
  "check the board's profile (gateway.profile) and the line that the child names; `gpioinfo` lists chips and lines";

/** Whether a line can be had, by the character device or else by sysfs. Nothing is taken: that could move an output. */
export async function gpioLineFinding(place: LinePlace, bias: string, scene: Scene): Promise<Finding> {
  const { user, gateway, gpioRoot, gpioKernel = linuxGpio } = scene;
  let reason: string;
  try {
    const { path, consumer } = lookAtCharacterLine(loaded(gpioKernel), place);
    if (consumer === null) return ok(`${named(place)} is free, by the character device ${path}`);
    if (consumer === CONSUMER && gateway.is !== 'absent')
      return ok(`${named(place)} is in use by the gateway, by the character device ${path}`);
    if (consumer !== 'sysfs')
      return fail(`${consumer === '' ? 'the kernel' : `'${consumer}'`} uses ${named(place)}`, 'stop what uses it');
    reason = 'the line is exported there';
  } catch (error) {
    if (!(error instanceof NoSuchWay)) return fail((error as Error).message, LOOK_AGAIN);
    reason = error.message;
  }
  return sysfsFinding(place, bias, reason, gpioRoot, user);
}

async function sysfsFinding(
  place: LinePlace,
  bias: string,
  reason: string,
  root: string,
  user: string,
): Promise<Finding> {
  try {
    const number = await sysfsNumber(place, root);
    const line = join(root, `gpio${number}`);
    fs.accessSync(fs.existsSync(line) ? join(line, 'value') : join(root, 'export'), fs.constants.W_OK);
    if (bias !== 'as-is')
      return fail(`sysfs cannot set bias ${bias}, and ${reason}`, 'leave bias out, and put a resistor at the line');
    const found = `${named(place)} is number ${number}, by sysfs, which merges edges: ${reason}`;
    return reason.startsWith('no permission') ? warn(found, joinGroup(user)) : ok(found);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM')
      return fail(`${user} may not use the GPIO lines in ${root}, and ${reason}`, joinGroup(user));
    if (reason.startsWith('no permission')) return fail(reason, joinGroup(user));
    return fail(`${message}; ${reason}`, LOOK_AGAIN);
  }
}

function loaded(kernel: () => GpioKernel): GpioKernel {
  try {
    return kernel();
  } catch (error) {
    throw new NoSuchWay(`the C library cannot be called: ${(error as Error).message}`, { cause: error });
  }
}

function named({ chip, offset }: LinePlace): string {
  return `line ${offset} of ${chip}`;
}

function joinGroup(user: string): string {
  return `sudo usermod -aG ${GROUP} ${user}; then log in again, or restart the service; a udev rule gives /dev/gpiochip* to the group`;
}
