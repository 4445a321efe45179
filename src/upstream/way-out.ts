/** What TLS is made with. */
export interface TlsKeys {
  /** PEM: who may sign for the other side. Left out: those that Node.js brings. */
  readonly ca?: string;
  /** PEM: what we show of ourselves. */
  readonly cert?: string;
  readonly key?: string;
  /** The oldest version that is spoken; 1.2 when left out. */
  readonly minVersion?: '1.2' | '1.3' | undefined;
}

/** An HTTP proxy that opens a tunnel with CONNECT (RFC 9110, section 9.3.6). */
export interface ProxyWay {
  /** `http://proxy:3128`, `https://...`; a user name may stand in it, percent-encoded. */
  readonly url: string;
  readonly password?: string | undefined;
}

/** Where to, and by which way. */
export interface WayOut {
  /** mqtt, mqtts, ws or wss. */
  readonly url: string;
  readonly tls: TlsKeys;
  readonly proxy?: ProxyWay | undefined;
}

/** A URL taken apart. */
export interface Place {
  /** A name or an address, an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
  /** Both, as they are written: `broker.example:8883`, `[2001:db8::1]:8883`. */
  readonly authority: string;
  readonly encrypted: boolean;
  readonly webSocket: boolean;
}

const PORTS: Readonly<Record<string, number>> = {
  'mqtt:': 1883,
  'mqtts:': 8883,
  'ws:': 80,
  'wss:': 443,
  'http:': 80,
  'https:': 443,
};

/** Takes apart the address of a broker or of a proxy. */
export function placeOf(url: string): Place {
  const { protocol, hostname, port: written } = new URL(url);
  const port = written === '' ? PORTS[protocol]! : Number(written);
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port,
    authority: `${hostname}:${port}`,
    encrypted: protocol === 'mqtts:' || protocol === 'wss:' || protocol === 'https:',
    webSocket: protocol === 'ws:' || protocol === 'wss:',
  };
}
