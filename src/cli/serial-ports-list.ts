import { readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadedConfig } from '../config/load.ts';
import { serialDevice } from '../config/profile.ts';
import { portHolder } from '../drivers/port-holder.ts';
import { presentPorts, usbPortPath } from '../drivers/usb-port.ts';
import { FINE, FOUND_A_PROBLEM, print, printable, printJson, say, table } from './output.ts';

/** Where udev puts the names that stay. */
const STABLE = ['/dev/serial/by-id', '/dev/serial/by-path'];

/** The ports that this machine has, by what names, and whose they are; `loaded` where there is a configuration. */
export async function listPorts(loaded: LoadedConfig | undefined, asJson: boolean): Promise<number> {
  const names = stableNames();
  const children = await childrenByPort(loaded);
  const ports = await Promise.all(
    (await presentPorts()).map(async ({ path, driver, usb, description }) => ({
      path,
      driver,
      vendor: usb?.vendor ?? null,
      product: usb?.product ?? null,
      serial: usb?.serial ?? null,
      interface: usb?.interface ?? null,
      description,
      names: names.get(path) ?? [],
      children: children.get(path) ?? [],
      owner: (await portHolder(path))?.text ?? null,
    })),
  );
  if (asJson) printJson(ports);
  else if (ports.length === 0)
    say('this machine shows no serial port: is the adapter plugged in, and its driver loaded?');
  else {
    const rows = ports.map(
      ({ path, driver, vendor, product, serial, description, names: stable, owner, children: ids }) => [
        path,
        driver ?? '',
        vendor === null ? '' : `${vendor}:${product}`,
        serial ?? '',
        description ?? '',
        ids.join(', '),
        owner ?? '',
        stable[0] ?? '',
      ],
    );
    const head = ['PORT', 'DRIVER', 'USB', 'SERIAL', 'DEVICE', 'CHILD', 'OPEN IN', 'STABLE NAME'];
    print(
      table(
        head,
        rows.map((row) => row.map(printable)),
      ),
    );
  }
  return ports.length === 0 ? FOUND_A_PROBLEM : FINE;
}

function stableNames(): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const folder of STABLE) {
    let entries: string[];
    try {
      entries = readdirSync(folder).sort();
    } catch {
      continue;
    }
    for (const entry of entries) {
      const name = join(folder, entry);
      const path = device(name);
      names.set(path, [...(names.get(path) ?? []), name]);
    }
  }
  return names;
}

async function childrenByPort(loaded: LoadedConfig | undefined): Promise<Map<string, string[]>> {
  const owners = new Map<string, string[]>();
  for (const { id, serial } of loaded?.config.children ?? []) {
    if (serial === undefined || loaded === undefined) continue;
    const { port } = serial;
    const named =
      typeof port === 'string' ? serialDevice(loaded.profile, port) : await usbPortPath(port.usb).catch(() => '');
    const path = device(named ?? '');
    owners.set(path, [...(owners.get(path) ?? []), id]);
  }
  return owners;
}

function device(name: string): string {
  try {
    return realpathSync(name);
  } catch {
    return name;
  }
}
