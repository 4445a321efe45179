import { boardChecks } from './board.ts';
import type { Check } from './check.ts';
import { childChecks } from './children.ts';
import { configurationChecks } from './configuration.ts';
import { hubChecks } from './hub.ts';
import { machineChecks } from './machine.ts';
import { mailboxChecks } from './mailboxes.ts';
import type { Scene } from './scene.ts';
import { registryChecks } from './registry.ts';
import { storageChecks } from './storage.ts';
import { upstreamChecks } from './upstream.ts';

/** All checks, in the order in which they run: what one builds on stands before it. */
export function allChecks(scene: Scene): Check[] {
  const machine = machineChecks(scene);
  return [
    ...configurationChecks(scene),
    ...boardChecks(scene),
    ...storageChecks(scene),
    machine.gateway,
    ...childChecks(scene),
    ...hubChecks(scene),
    ...mailboxChecks(scene),
    ...upstreamChecks(scene),
    ...registryChecks(scene),
    ...machine.others,
  ];
}
