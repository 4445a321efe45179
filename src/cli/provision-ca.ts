import type { ShownAuthority } from '../registry/desk.ts';
import { atDesk } from './children-desk.ts';
import { configured, type CommonOptions } from './configured.ts';
import { FINE, print, printJson, say } from './output.ts';

export interface CaOptions extends CommonOptions {
  readonly renew?: boolean;
}

/** `holdfast provision ca`: the certificate that children must trust; made when there is none yet, or made anew. */
export async function provisionCa(options: CaOptions): Promise<number> {
  const renew = options.renew === true;
  const found = await atDesk(configured(options.config), (desk) => desk<ShownAuthority>({ do: 'authority', renew }));
  if (options.json === true) {
    printJson(found);
    return FINE;
  }
  if (renew) say('the authority was made anew: children that trust the one before must be given this one');
  say(`${found.file}, good until ${found.notAfter}, SHA-256 ${found.sha256}`);
  print(found.certificate.trimEnd());
  return FINE;
}

/** `holdfast provision rotate-key`: a new key for what is kept of children, and all of it sealed with that. */
export async function provisionRotateKey(options: CommonOptions): Promise<number> {
  await atDesk(configured(options.config), (desk) => desk({ do: 'rotate seal' }));
  if (options.json === true) printJson({ rotated: true });
  else say('everything that is kept of children is sealed with a new key');
  return FINE;
}
