import type { Source } from '../message/message.ts';
import type { TwinChange } from './twins.ts';

/*
 * What a twin's change looks like as a message, for routes from `/twinChangeNotifications`: as IoT Edge's hub makes it. The body is
 * the patch; the message comes from the gateway's own `$edgeHub`, and says in its system properties whose change it was.
 */

const HUB_MODULE = '$edgeHub';
const KIND = 'twinChangeNotification';

/** Of a message, what is not the router's to say. */
export interface Notice {
  readonly source: Source;
  readonly body: Buffer;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** Reported properties have changed; null for desired ones, of which routes hear nothing. */
export function changeNotice(gateway: string, { child, module, side, patch }: TwinChange): Notice | null {
  return side === 'reported' ? notice(gateway, child, module, patch) : null;
}

/**
 * A child has come or gone: a change of what the gateway's hub reports of its clients, in the words of IoT Edge. `at`: ms since
 * 1970.
 */
export function presenceNotice(
  gateway: string,
  child: string,
  module: string | null,
  connected: boolean,
  at: number,
): Notice {
  const time = { [connected ? 'lastConnectedTimeUtc' : 'lastDisconnectedTimeUtc']: new Date(at).toISOString() };
  const client = { status: connected ? 'Connected' : 'Disconnected', ...time };
  return notice(gateway, gateway, HUB_MODULE, {
    clients: { [module === null ? child : `${child}/${module}`]: client },
  });
}

function notice(gateway: string, child: string, module: string | null, body: object): Notice {
  return {
    source: { child: gateway, module: HUB_MODULE },
    body: Buffer.from(JSON.stringify(body)),
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    properties: {
      messageType: KIND,
      messageSchema: KIND,
      rpSenderDeviceId: child,
      ...(module === null ? {} : { rpSenderModuleId: module }),
    },
  };
}
