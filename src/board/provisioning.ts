import path from 'node:path';
import { stringify } from 'yaml';
import { ConfigError, loadConfig } from '../config/load.ts';
import type { Problem } from '../config/problem.ts';
import { readProvision, type Provision, type ProvisionFile } from '../config/provision.ts';
import { MachineFiles } from './machine-files.ts';
import { networkdFiles, networkManagerFiles, type MachineFile, type MachineLink } from './network-files.ts';

const CONFIG = '/etc/holdfast/gateway.yaml';
const SECRETS = '/etc/holdfast/secrets';
/** Keys of the configuration that name files, which may be among the credentials. */
const FILE_KEYS = [
  'passwordFile',
  'proxyPasswordFile',
  'sharedAccessKeyFile',
  'ca',
  'clientCert',
  'clientKey',
] as const;

/** What systemd hands to a service at most, names and contents together, bytes: with more it does not start it (systemd.exec(5)). */
const SECRETS_BYTES_MAX = 2 ** 20;
/** What a name is handed on as begins with this (`LoadCredential=secrets:`). */
const SECRETS_PREFIX = 'secrets_';

/** One line each, without secrets. */
export interface Applied {
  readonly done: readonly string[];
  /** What the machine will probably not be as it was meant. */
  readonly warnings: readonly string[];
}

/**
 * Takes over what a provisioning file says into the machine whose root is `root`: all of it, or, when anything in it is wrong, nothing.
 * `board` is the profile of the machine, where it is known: for a file that names none. Throws a {@link ConfigError} with every problem. The same file twice gives the same files.
 */
export function provisionMachine(file: string, root: string, board: string | null): Applied {
  const machine = new MachineFiles(root);
  const read = readProvision(file, board);
  const { provision } = read;
  const problems: { path: (string | number)[]; message: string }[] = [];
  const applied: string[] = [];
  const files: MachineFile[] = [];
  const links: MachineLink[] = [];

  const named = FILE_KEYS.flatMap((key) => {
    const name = provision.upstream?.[key];
    return typeof name === 'string' && !name.includes('/') ? [{ key, name }] : [];
  });
  for (const { key, name } of named) {
    if (Object.hasOwn(provision.credentials, name) || machine.exists(`${SECRETS}/${name}`)) continue;
    if (machine.exists(path.join('/etc/holdfast', name))) continue;
    problems.push({ path: ['upstream', key], message: `${name} is not among the credentials` });
  }
  for (const [name, credential] of Object.entries(provision.credentials)) {
    const text = typeof credential === 'string' ? credential : Buffer.from(credential.base64, 'base64');
    files.push({ path: `${SECRETS}/${name}`, mode: 0o600, text });
    applied.push(`credential ${name}`);
  }
  const secretsBytes = secretBytes(machine, files);
  if (files.length > 0 && secretsBytes > SECRETS_BYTES_MAX)
    problems.push({
      path: ['credentials'],
      message: `with those of ${machine.at(SECRETS)} they have ${secretsBytes} bytes: with more than ${SECRETS_BYTES_MAX} systemd would not start the gateway`,
    });
  addNetwork(machine, provision, files, links, applied);
  addSystem(machine, provision, { files, links, applied, problems });

  const text = `# Written by \`holdfast provision apply\`.\n${stringify(read.gateway)}`;
  // All of them at once: for each round somebody carries the card to a PC.
  const found = [...read.misplaced(problems).problems, ...judged(machine, read, text)];
  if (found.length > 0) throw new ConfigError(found);
  const old = machine.read(CONFIG);
  if (old !== null && old !== text) files.push({ path: `${CONFIG}.old`, mode: 0o640, text: old, group: 'holdfast' });
  files.push({ path: CONFIG, mode: 0o640, text, group: 'holdfast' });
  applied.unshift(`gateway ${provision.id}`);
  machine.write(files, links);
  return { done: applied, warnings: read.profile === undefined ? [unprofiled(machine)] : [] };
}

/** What the folder of the secrets will hold, as systemd counts it. */
function secretBytes(machine: MachineFiles, files: readonly MachineFile[]): number {
  const sizes = new Map(machine.sizes(SECRETS));
  for (const { path: file, text } of files) sizes.set(path.basename(file), Buffer.byteLength(text));
  return [...sizes].reduce((sum, [name, bytes]) => sum + Buffer.byteLength(SECRETS_PREFIX + name) + bytes, 0);
}

/** The gateway does not look at its board when it starts: what is written here is what counts. */
function unprofiled(machine: MachineFiles): string {
  const why = machine.isThis ? 'no profile knows this board' : 'nobody can tell a board by its files';
  return `no profile is named, and ${why}: the gateway has the profile simulated, which knows no ports, lines or storage medium. \`holdfast profile list\` shows them; write one as gateway.profile into ${machine.at(CONFIG)}, or as profile into the next file like this`;
}

/** Has it read as the gateway would, from the folder where it is going to stand; answers what is wrong. */
function judged(machine: MachineFiles, read: ProvisionFile, text: string): readonly Problem[] {
  const trial = `${CONFIG}.trial`;
  machine.write([{ path: trial, mode: 0o600, text }], []);
  try {
    loadConfig(machine.at(trial));
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return read.relocated(error.problems).problems;
  } finally {
    machine.remove(trial);
  }
}

function addNetwork(
  machine: MachineFiles,
  provision: Provision,
  files: MachineFile[],
  links: MachineLink[],
  applied: string[],
): void {
  const { wifi, ethernet } = provision;
  if (wifi === undefined && ethernet === undefined) return;
  const by = provision.network ?? (machine.exists('/usr/sbin/NetworkManager') ? 'NetworkManager' : 'networkd');
  if (by === 'NetworkManager') files.push(...networkManagerFiles(provision));
  else {
    const units = machine.exists('/usr/lib/systemd/system/systemd-networkd.service')
      ? '/usr/lib/systemd/system'
      : '/lib/systemd/system';
    const made = networkdFiles(provision, units);
    files.push(...made.files);
    links.push(...made.links);
  }
  if (wifi !== undefined) applied.push(`Wi-Fi ${JSON.stringify(wifi.ssid)} (${by})`);
  if (ethernet !== undefined) applied.push(`Ethernet ${ethernet.address} (${by})`);
}

interface Plan {
  readonly files: MachineFile[];
  readonly links: MachineLink[];
  readonly applied: string[];
  readonly problems: { path: (string | number)[]; message: string }[];
}

function addSystem(machine: MachineFiles, provision: Provision, { files, links, applied, problems }: Plan): void {
  const { hostname, timezone, ssh } = provision;
  if (hostname !== undefined) {
    files.push({ path: '/etc/hostname', mode: 0o644, text: `${hostname}\n` });
    const others = (machine.read('/etc/hosts') ?? '127.0.0.1\tlocalhost\n::1\tlocalhost\n').split('\n');
    const kept = others.filter((line) => line !== '' && !/^127\.0\.1\.1\s/.test(line));
    files.push({ path: '/etc/hosts', mode: 0o644, text: `${[...kept, `127.0.1.1\t${hostname}`].join('\n')}\n` });
    applied.push(`host name ${hostname}`);
  }
  if (timezone !== undefined) {
    const zone = `/usr/share/zoneinfo/${timezone}`;
    if (!machine.isFile(zone))
      problems.push({ path: ['timezone'], message: `there is no time zone ${timezone} ${machine.where}` });
    links.push({ path: '/etc/localtime', to: zone });
    files.push({ path: '/etc/timezone', mode: 0o644, text: `${timezone}\n` });
    applied.push(`time zone ${timezone}`);
  }
  if (ssh === undefined) return;
  const user = machine.account('passwd', ssh.user);
  if (user === undefined) {
    problems.push({ path: ['ssh', 'user'], message: `there is no user ${ssh.user} ${machine.where}` });
    return;
  }
  const file = `${user.home}/.ssh/authorized_keys`;
  const there = (machine.read(file) ?? '').split('\n').filter((line) => line !== '');
  const text = `${[...new Set([...there, ...ssh.keys])].join('\n')}\n`;
  files.push({ path: file, mode: 0o600, text, owner: { user: user.id, group: user.group } });
  applied.push(`${ssh.keys.length} SSH ${ssh.keys.length === 1 ? 'key' : 'keys'} for ${ssh.user}`);
}
