import { FleetError } from '../fleet/fleet.ts';
import { OperatorFolder } from '../fleet/operator-folder.ts';
import { CliError, FINE, print, printJson, printJsonLine, say } from './output.ts';
import { keyFolder, type FleetCommandOptions } from './fleet-broker.ts';

export interface KeyOptions extends Pick<FleetCommandOptions, 'folder' | 'fleetConfig' | 'json'> {
  readonly makeSigningKey?: boolean;
  readonly signing?: boolean;
}

/** `holdfast fleet key`: the public halves of the operator's keys. */
export function fleetKey(options: KeyOptions): Promise<number> {
  try {
    const folder = new OperatorFolder(keyFolder(options));
    if (options.makeSigningKey === true) folder.makeSigningKey();
    const keys = folder.publicKeys();
    if (options.signing === true) {
      if (keys.signing === null)
        throw new CliError('there is no signing key; make one with: holdfast fleet key --make-signing-key');
      printJsonLine(keys.signing);
    } else if (options.json === true) printJson({ folder: folder.path, ...keys });
    else {
      say(`the keys are in ${folder.path}`);
      say('for other operators, as a file in the folder operators/ of theirs:');
      print(JSON.stringify(keys.operator));
      if (keys.signing === null)
        say('documents are not signed; make a key for that with: holdfast fleet key --make-signing-key');
      else {
        say('for `registry.trust` of gateways, as a file:');
        print(JSON.stringify(keys.signing));
      }
    }
    return Promise.resolve(FINE);
  } catch (error) {
    throw error instanceof FleetError ? new CliError(error.message) : error;
  }
}
