import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { KeyFileFault, keyPairIn } from '../../config/key-files.ts';
import type { LoadedConfig } from '../../config/load.ts';
import type { HubConfig } from '../../config/schema.ts';
import { keysDir } from '../../registry/enrolment.ts';
import { KEY_NAME, SealError } from '../../registry/seal-key.ts';
import { SealedStore } from '../../registry/sealed-store.ts';
import { authoritiesIn, revokedIn } from '../../registry/trust.ts';
import { DATA_FILE } from '../../store/data-file.ts';
import { PageFile } from '../../store/page-file.ts';
import { namesIn } from '../../store/state.ts';
import { StoreError } from '../../store/store-error.ts';
import { fail, ok, skip, warn, type Check, type Finding } from './check.ts';
import { certainTime, type Neighbour, type Scene } from './scene.ts';

/** Days before a certificate ends when it is time to think of it. */
const EXPIRY_WARNING_DAYS = 30;
const DAY_MS = 86_400_000;
/** Looks at the state that are tried while somebody writes to it. */
const TRIES_MAX = 5;

/** Whether children can connect: what decides who may, and what the hub shows of itself. None without a hub. */
export function hubChecks(scene: Scene): Check[] {
  const { loaded, gateway } = scene;
  if (!('config' in loaded) || loaded.config.hub === undefined) return [];
  const { hub } = loaded.config;
  const { clientCa, revoked } = hub;
  const check = (id: string, about: string, run: () => Finding): Check => ({ id, about, needs: ['config'], run });
  const checks = [
    check('hub-key', "the key to the children's credentials is there", () => sealKey(loaded, gateway)),
    check('hub-certificate', "the hub's server certificate suits", () =>
      hub.cert === undefined || hub.key === undefined
        ? ownCertificate(loaded, hub, scene)
        : certificateFiles(hub, hub.cert, hub.key, scene),
    ),
  ];
  if (clientCa !== undefined)
    checks.push(check('hub-client-ca', 'the authorities of children can be used', () => authorities(clientCa, scene)));
  if (revoked !== undefined)
    checks.push(check('hub-revoked', 'the list of what is revoked can be used', () => revokedList(revoked)));
  return [...checks, check('hub', 'children can connect', () => listening(gateway))];
}

function isOpen(gateway: Neighbour): boolean {
  return gateway.is === 'running' && gateway.status.hub !== null;
}

function sealKey(loaded: LoadedConfig, gateway: Neighbour): Finding {
  const keys = keysDir(loaded.config);
  // systemd hands credentials to the service alone: what it has opened with its key says that this is the right one.
  if (isOpen(gateway)) return ok('the running gateway has it');
  const file = join(loaded.config.gateway.dataDir, 'state', DATA_FILE);
  let place: string | null;
  try {
    place = keyPlace(file, keys);
  } catch (error) {
    if (error instanceof SealError) {
      return fail(
        error.message,
        `a credential that systemd hands over (LoadCredential=${KEY_NAME}) is seen by the service only: if it is one, start the service and check again`,
      );
    }
    return fail((error as Error).message, 'look as the user that the gateway runs as');
  }
  if (place === null) return ok('nothing is sealed yet; the key is made at the first start');
  const mode = statSync(place).mode & 0o777;
  if ((mode & 0o077) !== 0)
    return warn(`${place}: others than its owner may read or change it`, `take that from them: chmod 600 ${place}`);
  return ok(`${place} opens what is kept of children`);
}

/** Where the key is that opens what is sealed; null when nothing is. Throws SealError, or a StoreError. */
function keyPlace(file: string, keys: string): string | null {
  for (let tries = 1; ; tries++) {
    let state: PageFile;
    try {
      state = PageFile.open(file);
    } catch (error) {
      if (error instanceof StoreError && error.fault === 'absent') return null;
      throw error;
    }
    try {
      const medium = {
        names: (prefix: string) => namesIn(state, prefix),
        bytes: (name: string) => state.get(Buffer.from(name, 'utf8')),
      };
      return SealedStore.placeOfKey(medium, keys);
    } catch (error) {
      if (error instanceof SealError || tries === TRIES_MAX || !state.moved()) throw error;
    } finally {
      state.close();
    }
  }
}

function certificateFiles({ hostName }: HubConfig, cert: string, key: string, scene: Scene): Finding {
  let certificate: X509Certificate;
  try {
    certificate = keyPairIn({ file: cert, setting: 'hub.cert' }, { file: key, setting: 'hub.key' }).first;
  } catch (error) {
    if (error instanceof KeyFileFault) return fail(error.message, error.fix);
    throw error;
  }
  const fits =
    isIP(hostName) === 0 ? certificate.checkHost(hostName, { subject: 'never' }) : certificate.checkIP(hostName);
  if (fits === undefined) {
    return fail(
      `${cert} is not for ${hostName} (hub.hostName), but for ${certificate.subjectAltName ?? 'no name at all'}: children that check it do not connect`,
      'have one made with that name as a subject alternative name, or change hub.hostName',
    );
  }
  const dated = dates(cert, certificate, scene);
  if (dated !== null) return dated;
  if ((statSync(key).mode & 0o004) !== 0)
    return warn(`${key}: can be read by every user of this machine`, `take that from them: chmod o-r ${key}`);
  return ok(`${cert} is for ${hostName}, until ${day(certificate.validTo)}`);
}

/** Null: it counts now and for a while. While the time is not known, only that it has ended can be certain. */
function dates(name: string, { validFrom, validTo }: X509Certificate, scene: Scene): Finding | null {
  const now = certainTime(scene);
  const known = scene.clock.known();
  const renew = 'have it renewed; the gateway reads the file again within the hour, or at once at `holdfast reload`';
  if (Date.parse(validTo) <= now) {
    return fail(`${name} has expired at ${validTo}${known ? '' : ', before this program was built'}`, renew);
  }
  if (!known) return null;
  if (Date.parse(validFrom) > now)
    return fail(`${name} is not valid before ${validFrom}`, 'look at the clock of this machine, and at who made it');
  if (Date.parse(validTo) - now < EXPIRY_WARNING_DAYS * DAY_MS) return warn(`${name} expires at ${validTo}`, renew);
  return null;
}

/** Made by the gateway's own authority, which sees to everything itself. */
function ownCertificate({ config }: LoadedConfig, { hostName }: HubConfig, scene: Scene): Finding {
  const read = (name: string) => new X509Certificate(readFileSync(join(keysDir(config), name)));
  try {
    const [server, authority] = [read('server.pem'), read('ca.pem')];
    if (Date.parse(authority.validTo) <= certainTime(scene)) {
      return fail(
        `the gateway's own authority has expired at ${authority.validTo}`,
        'make another: holdfast provision ca --renew; then give its certificate to all children',
      );
    }
    return ok(
      `by the gateway's own authority for ${hostName}, until ${day(server.validTo)}, and renewed by itself; the authority is good until ${day(authority.validTo)}`,
    );
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return ok("the gateway's own authority makes it at the first start");
    if (isOpen(scene.gateway)) return ok(`${scene.user} may not read it, but the running gateway shows one`);
    return fail(
      `the gateway's own certificate: ${(error as Error).message}`,
      'look as the user that the gateway runs as',
    );
  }
}

function authorities(file: string, scene: Scene): Finding {
  const consequence = 'children with certificates of an authority are not let in';
  try {
    const found = authoritiesIn(readFileSync(file, 'utf8'));
    const over = found.filter(({ notAfter }) => notAfter <= certainTime(scene));
    const names = (of: typeof found) =>
      of.map(({ commonNames }) => commonNames.join(' ') || 'without a name').join(', ');
    const renew = `put those that children have now into ${file}`;
    if (over.length === found.length) return fail(`${file}: all have expired, ${consequence}`, renew);
    if (over.length > 0) return warn(`${file}: expired: ${names(over)}`, renew);
    const none = found.filter(({ signsCertificates }) => !signsCertificates);
    if (none.length > 0)
      return warn(`${file}: may not sign certificates: ${names(none)}`, 'name the authority, not what it has signed');
    return ok(`${file}: ${names(found)}`);
  } catch (error) {
    return fail(`${file}: ${unusable(error)}; ${consequence}`, 'put it right; it is read again when it changes');
  }
}

function revokedList(file: string): Finding {
  try {
    return ok(`${file}: ${revokedIn(readFileSync(file, 'utf8')).size} revoked`);
  } catch (error) {
    return fail(
      `${file}: ${unusable(error)}; children with certificates of an authority are not let in`,
      'put it right (an empty file says that nothing is revoked); it is read again when it changes',
    );
  }
}

function listening(gateway: Neighbour): Finding {
  if (gateway.is !== 'running') return skip('no gateway runs that could be asked');
  const { hub, hubFault } = gateway.status;
  if (hubFault !== null) return fail(`nobody can: ${hubFault}`, 'it is tried again by itself; put right what it names');
  if (hub === null)
    return warn(
      'the running gateway has no hub yet',
      'start it anew, so that it takes the configuration up: holdfast restart',
    );
  const ports = Object.entries(hub.ports).map(([protocol, port]) => `${protocol} ${port}`);
  return ok(`on ${ports.join(', ')}; ${hub.connected} of ${hub.registered} are connected`);
}

function unusable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'is not there';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  return message;
}

function day(text: string): string {
  return new Date(text).toISOString().slice(0, 10);
}
