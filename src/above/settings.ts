import type { Logger } from 'pino';
import type { Reconfigured } from '../config/change.ts';
import type { LoadedConfig } from '../config/load.ts';
import { settingsFromAbove, type Laid, type LogLevelWord } from '../config/settings-from-above.ts';
import { isObject, same, type JsonObject } from '../twins/patch.ts';

/** The record of the last good ones in the state environment. */
const RECORD = 'settings-from-above';
const FORMAT = 1;

/**
 * Small durable records: the state environment. Not the sealed store: the spool's quota must be known before the spool is opened,
 * also while the key is not there, and nothing of it is a secret.
 */
export interface Keep {
  get(name: string): unknown;
  /** Durable when it resolves. */
  put(name: string, value: unknown): Promise<void>;
}

/** Whose desired properties: the gateway's own, or those of its module `$edgeHub`. */
export type Speaker = 'gateway' | '$edgeHub';

/** What somebody above wants, and which version of it. */
interface Wanted {
  readonly version: number;
  readonly desired: JsonObject;
}
type AllWanted = Partial<Readonly<Record<Speaker, Wanted>>>;

/** What came of it, for the gateway's reported properties. */
export interface SettingsReport {
  /** Of the gateway's desired properties that were looked at last; null: none have come. */
  readonly version: number | null;
  /** The same of `$edgeHub`'s. */
  readonly edgeHubVersion: number | null;
  /** Keys that are in force over the configuration's file. */
  readonly applied: readonly string[];
  /** Of these, what acts after a restart only. */
  readonly needRestart: readonly string[];
  /** Why they are not taken, or not all of them; empty when all is well. What was in force stays. */
  readonly problems: readonly string[];
  /** Taken, but probably not what was meant. */
  readonly warnings: readonly string[];
}

export interface SettingsOptions {
  /** The configuration of the file. */
  readonly base: LoadedConfig;
  readonly keep: Keep;
  readonly log: Logger;
}

/** Takes up what is in force from now on; answers what came of it. */
export type TakeUp = (loaded: LoadedConfig, logLevel: LogLevelWord | null) => Reconfigured;

/**
 * Settings that come from above, laid over the file. The last good ones are kept: they are in force from the start on, without a
 * network. Wrong ones change nothing. When the file changes they are laid over it again.
 */
export class Settings {
  #base: LoadedConfig;
  readonly #keep: Keep;
  readonly #log: Logger;
  #good: AllWanted;
  /** Of these, the ones that are on the medium. */
  #durable: AllWanted;
  /** That they could not be kept has been said. */
  #said = false;
  #laid: Laid;
  #seen: AllWanted;
  #problems: readonly string[] = [];
  #takeUp: TakeUp = () => ({ applied: [], needRestart: [] });
  #needRestart: readonly string[] = [];

  /** Reads what was kept. {@link laid} is there at once. */
  constructor({ base, keep, log }: SettingsOptions) {
    this.#base = base;
    this.#keep = keep;
    this.#log = log;
    this.#good = this.#durable = this.#kept();
    this.#seen = this.#good;
    this.#laid = this.#overFile();
  }

  /** The configuration that is in force. */
  get laid(): LoadedConfig {
    return this.#laid.loaded;
  }

  /** Gives `takeUp` what is in force now, and then each change. */
  start(takeUp: TakeUp): void {
    this.#takeUp = takeUp;
    this.#takenUp();
  }

  /**
   * Takes whole desired properties. Resolves when they are in force and kept, or refused: see {@link report}. Rejects when they are in
   * force and could not be kept: they should come again.
   */
  async receive(desired: JsonObject, version: number, speaker: Speaker = 'gateway'): Promise<void> {
    const wanted = { version, desired: withoutMarks(desired) };
    const before = this.#seen[speaker];
    // It is retained above, and comes again with each connection.
    if (before?.version === version && same(before.desired, wanted.desired)) return this.#remember();
    this.#seen = { ...this.#seen, [speaker]: wanted };
    const laid = settingsFromAbove(this.#base, ...said(this.#seen));
    if ('problems' in laid) {
      this.#problems = laid.problems;
      this.#log.error({ version, problems: laid.problems }, 'settings from above are not taken, all stays as it is');
      return;
    }
    this.#adopt(laid);
    await this.#remember();
  }

  /** The file has changed: what came from above is laid over it as it is now. */
  rebase(base: LoadedConfig): Reconfigured {
    this.#base = base;
    // What did not fit the file as it was may fit it now.
    const laid = this.#seen === this.#good ? null : settingsFromAbove(base, ...said(this.#seen));
    if (laid !== null && !('problems' in laid)) {
      const changed = this.#adopt(laid);
      this.#remember().catch(() => undefined);
      return changed;
    }
    this.#laid = this.#overFile();
    return this.#takenUp();
  }

  report(): SettingsReport {
    return {
      version: this.#seen.gateway?.version ?? null,
      edgeHubVersion: this.#seen['$edgeHub']?.version ?? null,
      applied: this.#laid.applied,
      needRestart: this.#needRestart,
      problems: this.#problems,
      warnings: this.#laid.warnings,
    };
  }

  /** What was seen is good. */
  #adopt(laid: Laid): Reconfigured {
    const before = this.#laid.applied;
    this.#problems = [];
    this.#good = this.#seen;
    this.#laid = laid;
    for (const warning of laid.warnings) this.#log.warn(`settings from above: ${warning}`);
    if (laid.applied.length > 0 || before.length > 0)
      this.#log.info(`settings from above are in force: ${laid.applied.join(', ') || 'none any more'}`);
    return this.#takenUp();
  }

  /** Keeps the good ones where they are not kept yet. */
  async #remember(): Promise<void> {
    const good = this.#good;
    if (good === this.#durable) return;
    try {
      await this.#keep.put(RECORD, { format: FORMAT, ...good });
    } catch (error) {
      if (!this.#said)
        this.#log.error({ err: error }, 'settings from above are in force, and could not be kept for the next start');
      this.#said = true;
      throw error;
    }
    this.#durable = good;
    this.#said = false;
  }

  #takenUp(): Reconfigured {
    const changed = this.#takeUp(this.#laid.loaded, this.#laid.logLevel);
    this.#needRestart = changed.needRestart.filter((key) =>
      this.#laid.applied.some((mine) => key === mine || key.startsWith(`${mine}.`)),
    );
    return changed;
  }

  /**
   * The last good ones over the file as it is now. Where they do not fit it any more, such as a route to a module that it no
   * longer has, that section is the file's, and the others stay: a quota that fell back would cost messages.
   */
  #overFile(): Laid {
    const wanted = said(this.#good);
    let laid = settingsFromAbove(this.#base, ...wanted);
    if ('problems' in laid) {
      const { problems, sections } = laid;
      this.#problems = problems;
      this.#log.error({ problems }, `settings from above do not fit the configuration: ${sections.join(', ')}`);
      laid = settingsFromAbove(this.#base, ...wanted, sections);
    } else if (this.#seen === this.#good) {
      this.#problems = [];
    }
    if ('problems' in laid) laid = { loaded: this.#base, logLevel: null, applied: [], warnings: [] };
    if (laid.applied.length > 0)
      this.#log.info(`over the configuration's file stand settings from above: ${laid.applied.join(', ')}`);
    return laid;
  }

  #kept(): AllWanted {
    const record = this.#keep.get(RECORD);
    if (record === undefined) return {};
    if (!isObject(record) || record['format'] !== FORMAT) {
      this.#log.warn('the settings from above that were kept are of a format that this release does not know');
      return {};
    }
    const { gateway, $edgeHub } = record as unknown as AllWanted;
    return { ...(gateway && { gateway }), ...($edgeHub && { $edgeHub }) };
  }
}

function said(wanted: AllWanted): [desired: JsonObject, edgeHub: JsonObject | null] {
  return [wanted.gateway?.desired ?? {}, wanted['$edgeHub']?.desired ?? null];
}

/** Without `$version` and what else a document carries about itself. */
function withoutMarks(desired: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(desired).filter(([name]) => !name.startsWith('$')));
}
