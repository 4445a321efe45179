import mqtt, { type MqttClient } from 'mqtt';
import { sealDocument, type WrittenDocument } from '../../src/registry/document.ts';
import type { PublicJwk } from '../../src/registry/jwk.ts';

/** The topics of the gateway whose operator this is. */
export const ROOT = 'holdfast/v1/line-4';

/** The operator above gateway `line-4`, who sees and writes its topics over plain MQTT. */
export class Operator {
  readonly client: MqttClient;
  /** The last message on each topic, and all in the order in which they came. */
  readonly last = new Map<string, Buffer>();
  readonly all: { readonly topic: string; readonly body: string }[] = [];

  private constructor(client: MqttClient) {
    this.client = client;
    client.on('message', (topic, body) => {
      this.last.set(topic, body);
      this.all.push({ topic, body: body.toString() });
    });
  }

  static async of(url: string): Promise<Operator> {
    const client = await mqtt.connectAsync(url, { clientId: 'operator', reconnectPeriod: 100 });
    const operator = new Operator(client);
    await client.subscribeAsync(`${ROOT}/#`, { qos: 1 });
    return operator;
  }

  json(topic: string): Record<string, unknown> | null {
    const body = this.last.get(`${ROOT}/${topic}`);
    return body === undefined || body.length === 0 ? null : (JSON.parse(body.toString()) as Record<string, unknown>);
  }

  /** What the gateway reports of itself under this name. */
  reported(name: string): Record<string, unknown> | undefined {
    return this.json('line-4/twin/reported')?.[name] as Record<string, unknown> | undefined;
  }

  /** What it reports of its settings under this name, a list. */
  settings(name: string): string[] {
    return ((this.reported('settings')?.[name] ?? []) as string[]).toSorted();
  }

  async retain(topic: string, body: Buffer | object): Promise<void> {
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    await this.client.publishAsync(`${ROOT}/${topic}`, bytes, { qos: 1, retain: true });
  }

  async document(version: number, children: WrittenDocument['children'], key?: PublicJwk): Promise<void> {
    const own = key ?? (this.json('key') as unknown as PublicJwk);
    const document = { version, issuedAt: new Date().toISOString(), children };
    await this.retain('children', await sealDocument(document, [own]));
  }
}
