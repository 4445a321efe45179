import { configJsonSchema } from '../config/schema.ts';
import { FINE, printJson } from './output.ts';

/** `holdfast config schema`: the JSON Schema of gateway.yaml, for editors. */
export function configSchema(): number {
  printJson(configJsonSchema());
  return FINE;
}
