import mqtt, { type MqttClient } from 'mqtt';
import { openDocument, type RegistryDocument } from '../../src/registry/document.ts';
import { newKeyPair, type KeyPair, type PublicJwk } from '../../src/registry/jwk.ts';

export interface Played {
  readonly url: string;
  readonly id: string;
  readonly trust?: PublicJwk;
  /** The version that it says it has already. */
  readonly version?: number;
  /** Says nothing of documents. */
  readonly silent?: boolean;
  /** Children that it does not take. */
  readonly clashes?: readonly string[];
  readonly hub?: { readonly hostName: string; readonly iothubName?: string };
  readonly pending?: number;
}

/** A gateway's side of the `holdfast` dialect, as far as operators see it: key, status, reported properties, methods. */
export class PlayedGateway {
  readonly id: string;
  readonly documents: RegistryDocument[] = [];
  /** Why documents were not taken. */
  readonly errors: string[] = [];
  readonly desired: Record<string, unknown>[] = [];
  readonly #played: Played;
  readonly #client: MqttClient;
  #keys: KeyPair = newKeyPair('enc');
  #reported: Record<string, unknown>;
  #version: number;

  private constructor(played: Played, client: MqttClient) {
    this.#played = played;
    this.#client = client;
    this.id = played.id;
    this.#version = played.version ?? 0;
    this.#reported =
      played.version === undefined ? {} : { registry: { version: played.version, refused: [], error: null } };
  }

  static async start(played: Played): Promise<PlayedGateway> {
    const client = await mqtt.connectAsync(played.url, { protocolVersion: 5, reconnectPeriod: 0 });
    const gateway = new PlayedGateway(played, client);
    client.on('message', (topic, body) => {
      void gateway.#heard(topic.split('/').slice(3), body);
    });
    await gateway.status('online');
    await gateway.newKey();
    await gateway.#report({ settings: { applied: [], problems: [] } });
    await client.subscribeAsync(
      ['children', '+/twin/desired', '+/methods/#'].map((end) => gateway.#topic(end)),
      { qos: 1 },
    );
    return gateway;
  }

  async status(state: 'online' | 'offline'): Promise<void> {
    const { hub = null, pending = 0 } = this.#played;
    const spool = {
      pending,
      oldestAgeSecs: 90,
      deadLetters: 0,
      dropped: { evicted: 7 },
      lastLoss: { reason: 'evicted', count: 7, at: '2026-01-02T03:04:05.000Z' },
    };
    const body = { state, since: '2026-01-02T03:04:05.000Z', version: '0.1.0', spool, children: 3, hub };
    await this.#publish('status', body, true);
  }

  async newKey(): Promise<void> {
    this.#keys = newKeyPair('enc');
    await this.#publish('key', this.#keys.public, true);
  }

  get kid(): string {
    return this.#keys.public.kid;
  }

  async loss(loss: object): Promise<void> {
    await this.#publish('losses', loss, false);
  }

  async end(): Promise<void> {
    await this.#client.endAsync();
  }

  async #heard([child, ...rest]: string[], body: Buffer): Promise<void> {
    if (child === 'children') await this.#document(body);
    else if (rest[1] === 'desired') await this.#wanted(JSON.parse(body.toString()) as Record<string, unknown>);
    else if (rest[2] === 'req') {
      const { payload } = JSON.parse(body.toString()) as { payload: unknown };
      const answer = rest[1] === 'echo' ? { status: 200, payload: { child, payload } } : { status: 404, payload: null };
      if (rest[1] !== 'mute') await this.#publish(`${child}/methods/${rest[1]}/res/${rest[3]}`, answer, false);
    }
  }

  async #document(body: Buffer): Promise<void> {
    const { trust = null, silent = false, clashes = [] } = this.#played;
    let error: string | null = null;
    try {
      const { document } = await openDocument(body, this.#keys.private, trust);
      if (document.version > this.#version) {
        this.documents.push(document);
        this.#version = document.version;
      } else error = `version ${document.version} is not above ${this.#version}`;
    } catch (refused) {
      error = (refused as Error).message;
    }
    if (error !== null) this.errors.push(error);
    if (silent) return;
    const refused = clashes.map((id) => ({ id, why: 'there is a child of that name already, added here' }));
    await this.#report({ registry: { version: this.#version, refused, error } });
  }

  async #wanted(desired: Record<string, unknown>): Promise<void> {
    this.desired.push(desired);
    const { $version: version, storeAndForward, bad } = desired;
    const problems = bad === undefined ? [] : ['bad: it is not to be'];
    if (storeAndForward !== undefined)
      await this.#report({ settings: { version, applied: Object.keys(desired), problems } });
  }

  async #report(more: Record<string, unknown>): Promise<void> {
    this.#reported = { ...this.#reported, ...more };
    await this.#publish(`${this.id}/twin/reported`, this.#reported, true);
  }

  async #publish(end: string, body: object, retain: boolean): Promise<void> {
    await this.#client.publishAsync(this.#topic(end), JSON.stringify(body), { qos: 1, retain });
  }

  #topic(end: string): string {
    return `holdfast/v1/${this.id}/${end}`;
  }
}
