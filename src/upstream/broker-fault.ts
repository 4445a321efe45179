import { codeOf, reasonOf } from './dial-failed.ts';
import { tlsFault } from './tls-fault.ts';
import { placeOf, type WayOut } from './way-out.ts';

/** Why a broker that was reached does not let us in, in words. */
export interface BrokerFault {
  readonly what: string;
  readonly advice?: string;
}

/**
 * Out of an error of MQTT.js's between CONNECT and CONNACK: of its stream, or of what it read. With TLS 1.3 the other side judges
 * our client certificate only after we have taken the handshake for done, so what it says of that comes here as well.
 */
export function brokerFault(error: Error, { url, tls }: Pick<WayOut, 'url' | 'tls'>): BrokerFault {
  const { authority, encrypted } = placeOf(url);
  // A CONNACK that refuses has a number.
  if (typeof (error as { code?: unknown }).code === 'number') return { what: reasonOf(error) };
  const { code } = codeOf(error);
  if (code === undefined) {
    const what = `${authority} does not talk MQTT: ${reasonOf(error)}`;
    const or = encrypted ? '' : '; if it is one for TLS, write mqtts://';
    return { what, advice: `check the port in upstream.url: something else answers there${or}` };
  }
  // A reset says nothing of TLS here.
  const fault = code === 'ECONNRESET' ? null : tlsFault(code, { minVersion: tls.minVersion });
  return fault ?? { what: reasonOf(error) };
}
