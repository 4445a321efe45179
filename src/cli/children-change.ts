import type { Auth } from '../registry/identity.ts';
import { atDesk } from './children-desk.ts';
import { handout, printHandout } from './children-handout.ts';
import { configured, type CommonOptions } from './configured.ts';
import { FINE, printJson, say } from './output.ts';

export interface ModuleOptions extends CommonOptions {
  readonly module?: string;
}

/** `holdfast children remove ID`: who is connected as it is cut off. */
export async function removeChild(child: string, options: ModuleOptions): Promise<number> {
  const { module = null } = options;
  await atDesk(configured(options.config), (desk) => desk({ do: 'remove', child, module }));
  const removed = module === null ? child : `${child}/${module}`;
  if (options.json === true) printJson({ removed });
  else say(`removed ${removed}`);
  return FINE;
}

/** `holdfast children enable|disable ID`: a disabled child is cut off, and keeps its credentials. */
export async function setChildStatus(
  status: 'enabled' | 'disabled',
  child: string,
  options: CommonOptions,
): Promise<number> {
  await atDesk(configured(options.config), (desk) => desk({ do: 'status', child, status }));
  if (options.json === true) printJson({ child, status });
  else say(`${child} is ${status}`);
  return FINE;
}

export interface RotateOptions extends ModuleOptions {
  readonly both?: boolean;
}

/** `holdfast children rotate-key ID`: a new primary key; the one before goes on as the secondary. */
export async function rotateKey(child: string, options: RotateOptions): Promise<number> {
  const { module = null, both = false } = options;
  const where = configured(options.config);
  const auth = await atDesk(where, (desk) => desk<Auth>({ do: 'rotate key', child, module, both }));
  const rotated = module === null ? child : `${child}/${module}`;
  if (options.json === true) {
    printJson({ rotated, ...handout(where, child, module, auth) });
    return FINE;
  }
  say(
    `${rotated} has a new primary key; ${both ? 'no key of before counts any more' : 'the one before is its secondary key now'}`,
  );
  printHandout(where, child, module, auth);
  return FINE;
}
