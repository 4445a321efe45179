import type { Clock } from '../../clock/clock.ts';
import { fail, ok, warn, type Check, type Finding } from './check.ts';
import type { Scene } from './scene.ts';

/** The versions of Node.js that package.json's `engines` names: from the first, and before the major of the second. */
export const NODE_FROM = [20, 19] as const;
export const NODE_BEFORE = 26;

/** The machine and the program that runs on it. */
export function machineChecks({ file, gateway, clock }: Scene): { readonly gateway: Check; readonly others: Check[] } {
  return {
    gateway: {
      id: 'gateway',
      about: 'a gateway runs with this configuration',
      needs: ['config'],
      run: () => {
        if (gateway.is === 'running' && gateway.status.safeMode) {
          const { since, why } = gateway.status.safeMode;
          return fail(
            `in safe mode since ${since}: sensors, rules and hub are off. ${why}`,
            'find out why in its log (journalctl -u holdfast); change what it is about in the configuration, if it is that; then `holdfast restart`',
          );
        }
        if (gateway.is === 'running') {
          return ok(`process ${gateway.status.pid} runs, for ${gateway.status.uptimeSecs} s now`);
        }
        if (gateway.is === 'absent')
          return warn(gateway.why, `start it: sudo systemctl start holdfast, or: holdfast run -c ${file}`);
        return fail(
          gateway.why,
          'look as root, or as the user that the gateway runs as; then at its log: journalctl -u holdfast',
        );
      },
    },
    others: [
      { id: 'clock', about: 'the time is known', needs: [], run: () => time(clock) },
      { id: 'node', about: 'the version of Node.js suits', needs: [], run: () => node(process.versions.node) },
    ],
  };
}

function time(clock: Clock): Finding {
  const now = new Date(clock.wall()).toISOString();
  if (clock.known()) return ok(`synchronised; it is ${now}`);
  return warn(
    `nobody has said that it is right; it says ${now}. Messages are taken on and marked \`clock: unknown\``,
    'have a time service: sudo apt-get install systemd-timesyncd (or chrony), and let it reach a server; `timedatectl` says how it is doing',
  );
}

/** Judges a version of Node.js, such as `20.19.2`. */
export function node(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const suits = (major > NODE_FROM[0] || (major === NODE_FROM[0] && minor >= NODE_FROM[1])) && major < NODE_BEFORE;
  if (suits) return ok(`Node.js ${version}`);
  return fail(
    `Node.js ${version}, but Holdfast is made for ${NODE_FROM.join('.')} and later, before ${NODE_BEFORE}`,
    'install one of those, for example from https://nodejs.org',
  );
}
