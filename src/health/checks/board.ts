import { recognise, thisMachine } from '../../board/recognition.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { defaultProfileDirs, listProfiles, readProfile } from '../../config/profile.ts';
import type { Profile } from '../../config/profile-schema.ts';
import { ok, skip, warn, type Check, type Finding } from './check.ts';
import type { Scene } from './scene.ts';

/** Whether the profile that is named is this board's, and the board is well. */
export function boardChecks({ loaded, gateway, machine = thisMachine() }: Scene): Check[] {
  return [
    {
      id: 'board',
      about: "the profile is this board's",
      needs: ['config'],
      run: () => ('config' in loaded ? profileFinding(loaded, machine) : skip('no configuration')),
    },
    {
      id: 'limits',
      about: 'the board and the children are within `health.limits`',
      needs: ['config'],
      run: () => {
        if (gateway.is !== 'running') return skip('no gateway runs that could be asked');
        const { over } = gateway.status.board;
        if (over.length === 0) return ok('all that is known of the board is within its limits');
        return warn(over.map(({ message }) => message).join('\n'), 'docs/health.md says what each of these means');
      },
    },
  ];
}

function profileFinding(
  { profile: named, profileNamed }: LoadedConfig,
  machine: ReturnType<typeof thisMachine>,
): Finding {
  const others = readable().filter(({ name }) => name !== named.name);
  const found = recognise(machine, [named, ...others]);
  const called = machine.model ?? machine.dmi ?? `a machine with a processor of the kind ${machine.processor}`;
  if (found?.profile.name === named.name) return ok(`profile ${named.name}: ${found.because}`);
  if (found !== null && !profileNamed) {
    return warn(
      `gateway.profile is left out, so the profile is ${named.name}, which knows no ports, lines or storage medium; ${found.profile.name} fits: ${found.because}`,
      `write gateway.profile: ${found.profile.name}, or gateway.profile: ${named.name} if that is meant`,
    );
  }
  if (found?.by === 'model') {
    const what = `${found.because}, and the profile is ${named.name}`;
    return warn(what, `write gateway.profile: ${found.profile.name}, if ports and lines are to be this board's`);
  }
  const claims = [...named.recognise, ...named.recogniseDmi];
  if (claims.length > 0) {
    const what = `profile ${named.name} is for "${claims[0]}", and this is ${called}`;
    return warn(what, '`holdfast profile detect` says which profile fits');
  }
  return ok(`profile ${named.name}, on ${called}`);
}

function readable(): Profile[] {
  return listProfiles(defaultProfileDirs()).flatMap(({ file }) => {
    try {
      return [readProfile(file)];
    } catch {
      // `holdfast profile list` says what is wrong with it; the one that is named was read.
      return [];
    }
  });
}
