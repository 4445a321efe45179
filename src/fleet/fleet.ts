import { SystemClock } from '../clock/system-clock.ts';
import type { Clock } from '../clock/clock.ts';
import { EVERY_LOSSES, EVERY_STATUS, gatewayIn } from '../dialects/holdfast-operator.ts';
import { eventFilters, lossesTopic, parseEvent, statusTopic, type SeenEvent } from '../dialects/holdfast.ts';
import type { JsonObject } from '../twins/patch.ts';
import { Broker, type BrokerOptions } from './broker.ts';
import { FleetChildren } from './fleet-children.ts';
import { invokeMethod, type MethodResult } from './fleet-methods.ts';
import { FleetSettings } from './fleet-settings.ts';
import { FleetTwins, type TwinOf } from './fleet-twins.ts';
import { gatewayView, objectIn, type GatewayView } from './gateway-view.ts';
import { mustBeId } from './id.ts';
import { OperatorFolder, type OperatorKeys } from './operator-folder.ts';

export type { Clock } from '../clock/clock.ts';
export type { SeenEvent } from '../dialects/holdfast.ts';
export type { RegistryDocument } from '../registry/document.ts';
export type { Auth, Identity, ModuleIdentity } from '../registry/identity.ts';
export type { PublicJwk } from '../registry/jwk.ts';
export type { Json, JsonObject } from '../twins/patch.ts';
export type { BrokerOptions } from './broker.ts';
export type { ChildrenOutcome, ChildrenWait, FleetChildren, RotateOptions } from './fleet-children.ts';
export { FleetError } from './fleet-error.ts';
export type { MethodResult } from './fleet-methods.ts';
export type { FleetSettings, SettingsOutcome, SettingsReport, SettingsWait } from './fleet-settings.ts';
export type { FleetTwin, FleetTwins, TwinChange, TwinOf } from './fleet-twins.ts';
export type { GatewayView } from './gateway-view.ts';
export type { OperatorKeys } from './operator-folder.ts';

/** At which broker, as whom, and where the operator's keys are. */
export interface FleetOptions extends Omit<BrokerOptions, 'protocol' | 'tls'> {
  /** `auto` when left out: MQTT 5, and 3.1.1 where the broker refuses that. */
  readonly protocol?: BrokerOptions['protocol'] | undefined;
  /** PEM texts. */
  readonly tls?: BrokerOptions['tls'] | undefined;
  /** A folder that nobody else may enter; `~/.config/holdfast/fleet` when left out. */
  readonly folder?: string | undefined;
  readonly clock?: Clock | undefined;
  /** Gives up connecting. */
  readonly signal?: AbortSignal | undefined;
}

/** A loss that a gateway reports. */
export interface ReportedLoss {
  readonly gateway: string;
  /** As DESIGN has it under `/losses`; empty: it cannot be read. */
  readonly loss: JsonObject;
}

/** Which gateway; all of them when left out. */
export interface Whose {
  readonly gateway?: string | undefined;
}

/**
 * The gateways at one broker, in the `holdfast` dialect, from any machine: who they are, their children, twins, methods, settings,
 * and what they send. One connection, which does not come back by itself; what is asked for after it was lost rejects.
 * Everything that cannot be done rejects with a {@link FleetError}.
 */
export class Fleet {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #folder: OperatorFolder;
  /** Who may connect to gateways. */
  readonly children: FleetChildren;
  /** Desired and reported properties. */
  readonly twins: FleetTwins;
  /** What gateways are told to do otherwise than their configuration says. */
  readonly settings: FleetSettings;

  private constructor(broker: Broker, clock: Clock, folder: OperatorFolder) {
    this.#broker = broker;
    this.#clock = clock;
    this.#folder = folder;
    this.children = new FleetChildren(broker, clock, folder);
    this.twins = new FleetTwins(broker, clock);
    this.settings = new FleetSettings(broker, this.twins);
  }

  /** Rejects when the broker cannot be reached within 10 s, or does not let us in. */
  static async connect(options: FleetOptions): Promise<Fleet> {
    const { folder, clock = new SystemClock(() => true), signal, protocol = 'auto', tls = {}, ...rest } = options;
    const broker = await Broker.connect({ ...rest, protocol, tls }, clock, signal);
    return new Fleet(broker, clock, new OperatorFolder(folder));
  }

  /** As people may see it: without a password. */
  get url(): string {
    return this.#broker.url;
  }

  /** Aborted when the connection is over, by {@link close} or otherwise. */
  get ended(): AbortSignal {
    return this.#broker.ended;
  }

  /** All that ever said how they are and are remembered by the broker, by id. */
  async gateways(): Promise<GatewayView[]> {
    const found = await this.#broker.retained([EVERY_STATUS]);
    return [...found]
      .map(([topic, body]) => gatewayView(gatewayIn(topic), body))
      .sort((a, b) => (a.gateway < b.gateway ? -1 : 1));
  }

  /** One of them, and its status as it stands; null: it never said how it is. */
  async gateway(gateway: string): Promise<(GatewayView & { readonly status: JsonObject }) | null> {
    const topic = statusTopic(mustBeId(gateway));
    const body = (await this.#broker.retained([topic])).get(topic);
    return body === undefined ? null : { ...gatewayView(gateway, body), status: objectIn(body) };
  }

  /**
   * Has a child, a module or the gateway itself do something within `timeoutSecs` (30 when left out). Rejects at once when the
   * gateway is offline.
   */
  invoke(of: TwinOf, method: string, payload: unknown = null, timeoutSecs?: number): Promise<MethodResult> {
    return invokeMethod(this.#broker, this.#clock, of, method, payload, timeoutSecs);
  }

  /** Hands on messages as they arrive, with their bodies. Resolves, once they come, with what ends it. */
  onEvent(listener: (event: SeenEvent, body: Buffer) => void, { gateway }: Whose = {}): Promise<() => Promise<void>> {
    return this.#broker.follow(eventFilters(gateway), ({ topic, body, contentType, userProperties }) => {
      const event = parseEvent(topic, contentType, userProperties);
      if (event !== null) listener(event, body);
    });
  }

  /** Hands on losses as gateways report them: they are not retained. Resolves, once they come, with what ends it. */
  onLoss(listener: (loss: ReportedLoss) => void, { gateway }: Whose = {}): Promise<() => Promise<void>> {
    const topic = gateway === undefined ? EVERY_LOSSES : lossesTopic(gateway);
    return this.#broker.follow([topic], (heard) =>
      listener({ gateway: gatewayIn(heard.topic), loss: objectIn(heard.body) }),
    );
  }

  /** The public halves of the operator's keys; the one to open documents with is made on first need. */
  keys(): OperatorKeys {
    return this.#folder.publicKeys();
  }

  /** Says goodbye to the broker. */
  close(): Promise<void> {
    return this.#broker.leave();
  }
}
