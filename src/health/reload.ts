import type { Logger } from 'pino';
import type { Reconfigured } from '../config/change.ts';
import { ConfigError, loadConfig, type LoadedConfig } from '../config/load.ts';
import { RequestRefused } from './control-server.ts';

/** What takes up settings while it runs. */
export interface Reconfigurable {
  reconfigure(loaded: LoadedConfig): Reconfigured;
}

/** Reads the configuration again, for SIGHUP and `holdfast reload`. One that cannot be used changes nothing. */
export class Reloader {
  readonly #file: string;
  readonly #live: { readonly gateway: Reconfigurable | null };
  readonly #log: Logger;
  #wanted = false;

  /** `live.gateway` is null while it is still opening its spool. */
  constructor(file: string, live: { readonly gateway: Reconfigurable | null }, log: Logger) {
    this.#file = file;
    this.#live = live;
    this.#log = log;
  }

  /** Throws {@link RequestRefused} with all that is wrong with the file. */
  reload(): Reconfigured {
    const { gateway } = this.#live;
    if (gateway === null) throw new RequestRefused('the gateway is starting or stopping; try again in a moment');
    let loaded: LoadedConfig;
    try {
      loaded = loadConfig(this.#file);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#log.error(`the configuration cannot be used, all stays as it is:\n${error.message}`);
      throw new RequestRefused(`the configuration cannot be used, all stays as it is:\n${error.message}`);
    }
    for (const warning of loaded.warnings) this.#log.warn(warning);
    const changed = gateway.reconfigure(loaded);
    const { applied, needRestart } = changed;
    this.#log.info(applied.length === 0 ? 'read again: nothing to take up' : `taken up: ${applied.join(', ')}`);
    if (needRestart.length > 0) this.#log.warn(`changed, and waiting for a restart: ${needRestart.join(', ')}`);
    return changed;
  }

  /** The same for who gets no answer: the log has it all. While the gateway starts it is put off until it runs. */
  signalled(): void {
    this.#wanted = this.#live.gateway === null;
    if (this.#wanted) return;
    try {
      this.reload();
    } catch (error) {
      if (!(error instanceof RequestRefused)) this.#log.error({ err: error }, 'the configuration was not read again');
    }
  }

  /** The gateway runs. */
  started(): void {
    if (this.#wanted) this.signalled();
  }
}
