import type { IClientOptions } from 'mqtt';

/**
 * A broker's URL (mqtt, mqtts, ws, wss) as the options by which MQTT.js finds it. Given a string it takes it apart with
 * `url.parse`, which is deprecated, and of which Node 24 complains on standard error.
 */
export function address(url: string): Pick<IClientOptions, 'protocol' | 'hostname' | 'port' | 'path'> {
  const { protocol, hostname, port, pathname, search } = new URL(url);
  const webSocket = protocol === 'ws:' || protocol === 'wss:';
  return {
    protocol: protocol.slice(0, -1) as 'mqtt' | 'mqtts' | 'ws' | 'wss',
    // An IPv6 address stands in brackets in a URL, and only there; MQTT.js puts a URL together again for WebSockets.
    hostname: webSocket ? hostname : hostname.replace(/^\[(.*)\]$/, '$1'),
    ...(port === '' ? {} : { port: Number(port) }),
    ...(webSocket ? { path: `${pathname === '' ? '/' : pathname}${search}` } : {}),
  };
}
