import { readFileSync } from 'node:fs';
import { importEdgeHub, NoEdgeHub, type Imported } from '../config/edgehub.ts';
import { CliError, FINE, FOUND_A_PROBLEM, print, printable, printJson, say } from './output.ts';
import { writeNew } from './output-file.ts';

export interface ImportEdgehubOptions {
  readonly output?: string;
  readonly json?: boolean;
}

/**
 * `holdfast config import-edgehub`: a deployment of Azure IoT Edge as a configuration. What it could not carry is named on standard error. Ends
 * with 1 when a route could not be read.
 */
export function configImportEdgehub(file: string, { output, json }: ImportEdgehubOptions): number {
  const { yaml, notes, whole } = imported(file);
  if (output !== undefined) writeNew(output, yaml);
  if (json === true) printJson({ file: output ?? null, yaml, whole, notes });
  else {
    for (const note of notes) say(printable(note));
    if (output === undefined) print(yaml.trimEnd());
    else say(`written to ${output}; look through it, then: holdfast config check ${output}`);
  }
  return whole ? FINE : FOUND_A_PROBLEM;
}

function imported(file: string): Imported {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new CliError(`${file} cannot be read: ${(error as Error).message}`);
  }
  try {
    return importEdgeHub(JSON.parse(text.replace(/^\uFEFF/, '')));
  } catch (error) {
    if (error instanceof SyntaxError) throw new CliError(`${file} is not JSON: ${error.message}`);
    if (error instanceof NoEdgeHub) throw new CliError(`${file} cannot be imported: ${error.message}`);
    throw error;
  }
}
