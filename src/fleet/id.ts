import { FleetError } from './fleet-error.ts';

/** What the configuration takes as an id; names of modules may begin with `$` besides. */
const ID = /^\$?[A-Za-z0-9._-]{1,128}$/;

/** The same id. Throws a {@link FleetError} for what would be another topic than is meant. */
export function mustBeId(id: string): string {
  if (!ID.test(id))
    throw new FleetError(`${JSON.stringify(id)} is no id: it has 1 to 128 letters, digits, "-", "." or "_"`);
  return id;
}
