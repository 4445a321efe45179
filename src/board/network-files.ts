import { pbkdf2Sync } from 'node:crypto';
import type { Provision } from '../config/provision.ts';

/** A file of the machine that is to be written. */
export interface MachineFile {
  /** Absolute, in the machine's own root. */
  readonly path: string;
  readonly mode: number;
  readonly text: string | Buffer;
  /** The group that may read it, where it exists; else root's. */
  readonly group?: string;
  /** Whose it is, with the folder that is made for it; else root's. */
  readonly owner?: { readonly user: number; readonly group: number };
}

/** A name that points to another one. */
export interface MachineLink {
  readonly path: string;
  readonly to: string;
}

type Network = Pick<Provision, 'wifi' | 'ethernet'>;

/** IEEE 802.11i, H.4.1: the key that a passphrase stands for. In place of it: no quoting can go wrong with it. */
function wifiKey(ssid: string, password: string): string {
  return pbkdf2Sync(password, ssid, 4096, 32, 'sha1').toString('hex');
}

/** Key files as in nm-settings-keyfile(5). */
export function networkManagerFiles({ wifi, ethernet }: Network): MachineFile[] {
  const at = (name: string, text: string): MachineFile => ({
    path: `/etc/NetworkManager/system-connections/holdfast-${name}.nmconnection`,
    mode: 0o600,
    text,
  });
  const files: MachineFile[] = [];
  if (wifi !== undefined) {
    const { ssid, password, hidden } = wifi;
    // Bytes: whatever stands in it, it is read back as it is.
    const bytes = [...Buffer.from(ssid)].map((byte) => `${byte};`).join('');
    const security =
      password === undefined ? '' : `[wifi-security]\nkey-mgmt=wpa-psk\npsk=${wifiKey(ssid, password)}\n\n`;
    files.push(
      at(
        'wifi',
        `[connection]\nid=holdfast-wifi\ntype=wifi\nautoconnect=true\nautoconnect-retries=0\n\n[wifi]\nmode=infrastructure\nssid=${bytes}\n${hidden ? 'hidden=true\n' : ''}\n${security}[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n`,
      ),
    );
  }
  if (ethernet !== undefined) {
    const { address, gateway, dns } = ethernet;
    const families = ([4, 6] as const).map((family) => {
      const own = (each: string) => each.includes(':') === (family === 6);
      const servers = dns.filter(own);
      const lines = [`[ipv${family}]`];
      if (address === 'dhcp' || !own(address)) lines.push('method=auto');
      else lines.push('method=manual', `address1=${address}${gateway === undefined ? '' : `,${gateway}`}`);
      if (servers.length > 0) lines.push(`dns=${servers.map((server) => `${server};`).join('')}`);
      return `${lines.join('\n')}\n`;
    });
    files.push(
      at(
        'ethernet',
        `[connection]\nid=holdfast-ethernet\ntype=ethernet\nautoconnect=true\nautoconnect-retries=0\n\n${families.join('\n')}`,
      ),
    );
  }
  return files;
}

/** As in systemd.network(5) and wpa_supplicant.conf(5); `units` is the folder of systemd's own units. */
export function networkdFiles(
  { wifi, ethernet }: Network,
  units: string,
): { readonly files: MachineFile[]; readonly links: MachineLink[] } {
  const files: MachineFile[] = [];
  const links: MachineLink[] = [];
  const wanted = (unit: string, template = unit) =>
    links.push({ path: `/etc/systemd/system/multi-user.target.wants/${unit}`, to: `${units}/${template}` });
  const at = (name: string, text: string) =>
    files.push({ path: `/etc/systemd/network/10-holdfast-${name}.network`, mode: 0o644, text });
  if (wifi !== undefined) {
    const { ssid, password, country, hidden } = wifi;
    const security = password === undefined ? 'key_mgmt=NONE' : `psk=${wifiKey(ssid, password)}`;
    files.push({
      path: '/etc/wpa_supplicant/wpa_supplicant-wlan0.conf',
      mode: 0o600,
      text: `ctrl_interface=/run/wpa_supplicant\ncountry=${country}\nnetwork={\n  ssid=${Buffer.from(ssid).toString('hex')}\n  ${security}\n${hidden ? '  scan_ssid=1\n' : ''}}\n`,
    });
    at('wifi', '[Match]\nName=wlan0\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nRouteMetric=600\n');
    wanted('wpa_supplicant@wlan0.service', 'wpa_supplicant@.service');
  }
  if (ethernet !== undefined) {
    const { address, gateway, dns } = ethernet;
    const lines = address === 'dhcp' ? ['DHCP=yes'] : [`Address=${address}`];
    if (gateway !== undefined) lines.push(`Gateway=${gateway}`);
    for (const server of dns) lines.push(`DNS=${server}`);
    at('ethernet', `[Match]\nName=en* eth*\n\n[Network]\n${lines.join('\n')}\n`);
  }
  if (files.length > 0) wanted('systemd-networkd.service');
  return { files, links };
}
