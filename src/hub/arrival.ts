import type { Duplex } from 'node:stream';
import type { Timer } from '../clock/clock.ts';
import type { Connection } from './connection.ts';
import type { Admission, Client, Refusal } from './gatekeeper.ts';
import type { House, Newcomer, Origin, Testament } from './house.ts';
import { PATIENCE_MS } from './limits.ts';
import type { Connect } from './packets.ts';
import { Wire } from './wire.ts';

/** CONNACK, in MQTT 3.1.1 (section 3.2.2.3) and 5 (section 3.2.2.2). */
const REFUSALS: Readonly<Record<Refusal | 'full' | 'no room', readonly [number, number]>> = {
  unavailable: [3, 0x88],
  'not authorised': [5, 0x87],
  'bad client id': [2, 0x85],
  full: [3, 0x89],
  'no room': [3, 0x97],
};

/** Takes a client in, and whoever was connected as it goes. */
export type Enter = (newcomer: Newcomer) => Connection | 'full' | 'no room';

/** Somebody at the door, from the first byte until it is let in or sent away. */
export class Arrival {
  readonly #origin: Origin;
  readonly #house: House;
  readonly #enter: Enter;
  readonly #wire: Wire;
  readonly #timer: Timer;
  #asked = false;

  constructor(stream: Duplex, origin: Origin, house: House, enter: Enter) {
    this.#origin = origin;
    this.#house = house;
    this.#enter = enter;
    this.#wire = new Wire(stream, house.clock);
    this.#wire.events = {
      packet: (packet) => {
        if (packet.kind !== 'connect') this.#cut(`${packet.kind.toUpperCase()} before CONNECT`);
        else if (this.#asked) this.#cut('a second CONNECT');
        else void this.#ask(packet);
      },
      malformed: (error) => {
        if (error.cause !== undefined) house.log.error({ err: error.cause }, error.message);
        this.#cut(error.message);
      },
      drained: () => {},
      closed: () => this.#timer.cancel(),
    };
    this.#timer = house.clock.after(PATIENCE_MS, () => this.#cut('no CONNECT in time'));
  }

  /** Without a word: nobody has said yet which MQTT is spoken. */
  #cut(why: string): void {
    this.#house.refused('connection', why, this.#origin);
    this.#wire.cut();
  }

  async #ask(connect: Connect): Promise<void> {
    const { clientId, username, password } = connect;
    this.#asked = true;
    this.#wire.mqtt5 = connect.mqtt5;
    this.#wire.hold('admission');
    if (clientId === '') {
      this.#refuse('bad client id', 'a client without an id: it would be another one each time');
      return;
    }
    let admission: Admission;
    try {
      const { address, certificates } = this.#origin;
      admission = await this.#house.admit({ clientId, username, password, certificates, address });
    } catch (error) {
      this.#house.log.error({ err: error }, 'nobody could say whether a client may come in');
      admission = { refused: 'unavailable', why: 'nobody could say' };
    }
    if (!this.#wire.open) return;
    try {
      if ('refused' in admission) this.#refuse(admission.refused, admission.why, admission.said);
      else this.#admitted(admission.client, connect);
    } catch (error) {
      // A fault of ours costs this one its connection, and nobody else.
      this.#house.log.error({ err: error }, 'a client could not be taken in');
      this.#timer.cancel();
      this.#cut('a fault of ours');
    }
  }

  #admitted(client: Client, connect: Connect): void {
    const [wire, origin] = [this.#wire, this.#origin];
    let will: Testament | null = null;
    if (connect.will !== null) {
      const said = this.#house.dialects[client.dialect].said(client, connect.will);
      const { below } = this.#house.services;
      const ownWord = said.kind === 'lower word' && below?.owns(client.child, said.gateway) === true;
      if (said.kind !== 'event' && !ownWord) {
        this.#refuse('not authorised', 'its will is nothing of its own');
        return;
      }
      will = { said, delaySecs: connect.will.delaySecs };
    }
    const entered = this.#enter({ wire, origin, client, connect, will });
    if (entered === 'full') this.#refuse('full', `${this.#house.limits.clientsMax} clients are connected`);
    else if (entered === 'no room') this.#refuse('no room', 'there is no room for its messages');
    else this.#timer.cancel();
  }

  #refuse(refusal: keyof typeof REFUSALS, why: string, said?: true): void {
    this.#house.refused(refusal, why, this.#origin, said);
    const [returnCode, reasonCode] = REFUSALS[refusal];
    const { mqtt5 } = this.#wire;
    this.#wire.end({ cmd: 'connack', sessionPresent: false, ...(mqtt5 ? { reasonCode } : { returnCode }) });
  }
}
