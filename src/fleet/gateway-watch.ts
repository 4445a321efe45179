import { reportedTopic } from '../dialects/holdfast-operator.ts';
import { statusTopic } from '../dialects/holdfast.ts';
import type { JsonObject } from '../twins/patch.ts';
import type { Broker } from './broker.ts';
import { gatewayView, objectIn, type GatewayView } from './gateway-view.ts';

/** What one gateway says of itself, while it is watched: its status, and its own reported properties. */
export class GatewayWatch {
  readonly #broker: Broker;
  readonly #stop: () => Promise<void>;
  readonly #heard: { status: GatewayView | null; reported: JsonObject | null };

  private constructor(broker: Broker, stop: () => Promise<void>, heard: GatewayWatch['now']) {
    this.#broker = broker;
    this.#stop = stop;
    this.#heard = heard;
  }

  /** Resolves when what is retained of it is known. */
  static async start(broker: Broker, gateway: string): Promise<GatewayWatch> {
    const heard: GatewayWatch['now'] = { status: null, reported: null };
    let count = 0;
    const status = statusTopic(gateway);
    const stop = await broker.follow([status, reportedTopic(gateway, gateway, null)], ({ topic, body }) => {
      count++;
      if (topic !== status) heard.reported = body.length === 0 ? null : objectIn(body);
      else heard.status = body.length === 0 ? null : gatewayView(gateway, body);
    });
    await broker.settled(() => count);
    return new GatewayWatch(broker, stop, heard);
  }

  /** Null: nothing is retained. The properties are a new object whenever they have come again. */
  get now(): { status: GatewayView | null; reported: JsonObject | null } {
    return this.#heard;
  }

  get online(): boolean {
    return this.#heard.status?.state === 'online';
  }

  /** Resolves with what `look` finds, or with null when the gateway is offline or `secs` have passed. */
  async until<T>(look: (reported: JsonObject) => T | null, secs: number): Promise<T | null> {
    const answered = await this.#broker.until(() => {
      const { reported } = this.#heard;
      const found = reported === null ? null : look(reported);
      return found === null && this.online ? null : { found };
    }, secs * 1000);
    return answered?.found ?? null;
  }

  async stop(): Promise<void> {
    if (!this.#broker.ended.aborted) await this.#stop();
  }
}
