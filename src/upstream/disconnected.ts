/** Why a broker ends a connection, in words. MQTT 5, section 3.14.2.1. */
const REASONS: Readonly<Record<number, string>> = {
  0x87: 'we are not authorised',
  0x89: 'it is busy',
  0x8b: 'it is shutting down',
  0x8d: 'it heard nothing from us for too long',
  0x8e: 'another client has connected under our client id: have two gateways the same id?',
  0x93: 'we sent more at once than it allows',
  0x95: 'what we sent is larger than it allows',
  0x97: 'its quota is used up',
  0x98: 'its operator ended the connection',
  0x9c: 'another server is to be used',
  0x9d: 'it has moved to another server',
};

/** What is said of a DISCONNECT of the broker's. */
export function disconnected(reason: number): string {
  const code = `reason 0x${reason.toString(16).padStart(2, '0')}`;
  const words = REASONS[reason];
  return words === undefined
    ? `the broker disconnected us with ${code}`
    : `the broker disconnected us: ${words} (${code})`;
}

/** Connections in a row that the broker ended soon, until that is taken for a sign. */
const SHORT_MIN = 3;

/**
 * With MQTT 3.1.1 a broker does not say why it closes a connection. Two clients with one id throw each other out for ever: neither
 * keeps its connection for long.
 */
export class ShortConnections {
  #count = 0;

  /** One has lasted. */
  lasted(): void {
    this.#count = 0;
  }

  /** The broker ended one before it lasted; `why` with a suspicion where it does so again and again. */
  ended(why: string, clientId: string): string {
    if (++this.#count < SHORT_MIN || why.includes('client id')) return why;
    return `${why}, as it did before, soon after it let us in: is there another client with the client id ${clientId}?`;
  }
}
