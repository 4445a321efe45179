import { isObject, type Json, type JsonObject } from '../twins/patch.ts';
import type { Broker } from './broker.ts';
import type { FleetTwins } from './fleet-twins.ts';
import { GatewayWatch } from './gateway-watch.ts';

/** How long a gateway that is online may take to say what it made of new settings, seconds. */
export const SETTINGS_WAIT_SECS = 20;

/** What a gateway says of settings from above. */
export interface SettingsReport {
  /** Of the desired properties that it looked at last. */
  readonly version: number | null;
  /** Keys that are in force over its configuration's file. */
  readonly applied: readonly string[];
  /** Of these, what acts after a restart only. */
  readonly needRestart: readonly string[];
  /** Why it did not apply them: the ones before stay. */
  readonly problems: readonly string[];
  /** Applied, but probably not what was meant. */
  readonly warnings: readonly string[];
}

/** What became of a change. `offline`: the gateway takes it up when it returns. `silent`: it did not say in time. */
export interface SettingsOutcome {
  readonly state: 'applied' | 'refused' | 'offline' | 'silent' | 'published';
  readonly version: number;
  readonly report: SettingsReport | null;
}

export interface SettingsWait {
  /** Not at all: resolve when the broker has them. */
  readonly wait?: boolean | undefined;
  readonly waitSecs?: number | undefined;
}

/** The settings of gateways, which are desired properties of their own twins. */
export class FleetSettings {
  readonly #broker: Broker;
  readonly #twins: FleetTwins;

  constructor(broker: Broker, twins: FleetTwins) {
    this.#broker = broker;
    this.#twins = twins;
  }

  async get(gateway: string): Promise<{ desired: JsonObject | null; report: SettingsReport | null }> {
    const { desired, reported } = await this.#twins.get({ gateway, child: gateway });
    return { desired, report: reported === null ? null : reportIn(reported) };
  }

  /** Merges `patch` into them (null deletes), and waits until the gateway has said what it made of that. */
  async set(gateway: string, patch: unknown, options: SettingsWait = {}): Promise<SettingsOutcome> {
    const { wait = true, waitSecs = SETTINGS_WAIT_SECS } = options;
    const watch = await GatewayWatch.start(this.#broker, gateway);
    try {
      const { $version } = await this.#twins.set({ gateway, child: gateway }, patch);
      const version = Number($version);
      if (!wait) return { state: 'published', version, report: null };
      const answered = await watch.until((reported) => {
        const report = reportIn(reported);
        return (report?.version ?? 0) >= version ? report : null;
      }, waitSecs);
      if (answered !== null) {
        return { state: answered.problems.length > 0 ? 'refused' : 'applied', version, report: answered };
      }
      return { state: watch.online ? 'silent' : 'offline', version, report: null };
    } finally {
      await watch.stop();
    }
  }
}

function reportIn(reported: JsonObject): SettingsReport | null {
  const { settings } = reported;
  if (!isObject(settings)) return null;
  const { version, applied, needRestart, problems, warnings } = settings;
  return {
    version: typeof version === 'number' ? version : null,
    applied: texts(applied),
    needRestart: texts(needRestart),
    problems: texts(problems),
    warnings: texts(warnings),
  };
}

/** What is no text is shown as JSON: a gateway of another version may say more. */
function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.map((each) => (typeof each === 'string' ? each : JSON.stringify(each))) : [];
}
