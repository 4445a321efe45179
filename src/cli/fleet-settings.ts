import type { JsonObject, SettingsReport, SettingsWait } from '../fleet/fleet.ts';
import { gatewayMeant, withFleet, type FleetCommandOptions } from './fleet-broker.ts';
import { CliError, FINE, FOUND_A_PROBLEM, printable, printJson, say, USED_WRONGLY } from './output.ts';

/** `holdfast fleet config get`: what a gateway shall do otherwise than its file says, and what it made of that. */
export function fleetConfigGet(options: FleetCommandOptions): Promise<number> {
  return withFleet(options, async (fleet, place) => {
    const { desired, report } = await fleet.settings.get(gatewayMeant(options, place));
    printJson({ desired, settings: report });
    return FINE;
  });
}

/** `holdfast fleet config set KEY=VALUE ...`: the same, changed; says what the gateway makes of it. */
export function fleetConfigSet(pairs: readonly string[], options: FleetCommandOptions & SettingsWait): Promise<number> {
  const patch = patchOf(pairs);
  return withFleet(options, async (fleet, place) => {
    const gateway = gatewayMeant(options, place);
    const outcome = await fleet.settings.set(gateway, patch, options);
    const { state, version, report } = outcome;
    if (options.json === true) printJson({ gateway, ...outcome });
    else {
      const what = {
        applied: `${gateway} has applied version ${version}`,
        refused: `${gateway} refuses version ${version}; what it had before stays`,
        offline: `${gateway} is offline: version ${version} will be applied when it returns`,
        silent: `${gateway} is online, and has not said what it makes of version ${version}`,
        published: `version ${version} is published`,
      }[state];
      say(what);
      if (report !== null) sayReport(report);
    }
    return state === 'refused' || state === 'silent' ? FOUND_A_PROBLEM : FINE;
  });
}

function sayReport({ applied, needRestart, problems, warnings }: SettingsReport): void {
  if (applied.length > 0) say(printable(`in force from above: ${applied.join(', ')}`));
  if (needRestart.length > 0) say(printable(`after a restart only: ${needRestart.join(', ')}`));
  for (const each of [...problems, ...warnings]) say(printable(each));
}

/** `a.b=1` as `{a: {b: 1}}`. What is not JSON is a text; `null` takes a key back. */
function patchOf(pairs: readonly string[]): JsonObject {
  const patch: JsonObject = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const path = pair.slice(0, Math.max(at, 0)).split('.');
    if (at < 1 || path.includes('') || path.includes('__proto__'))
      throw new CliError(
        `${printable(pair)}: write KEY=VALUE, such as storeAndForward.timeToLiveSecs=86400`,
        USED_WRONGLY,
      );
    const last = path.pop()!;
    let into = patch;
    for (const name of path) {
      const inner = into[name];
      if (inner === undefined) into = into[name] = {};
      else if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) into = inner;
      else throw new CliError(`${printable(pair)}: ${name} has a value already`, USED_WRONGLY);
    }
    into[last] = valueOf(pair.slice(at + 1));
  }
  return patch;
}

function valueOf(text: string): JsonObject[string] {
  try {
    return JSON.parse(text) as JsonObject[string];
  } catch {
    return text;
  }
}
