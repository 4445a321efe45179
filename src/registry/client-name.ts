/** Who somebody says to be. Nothing of it has been judged. */
export interface ClientName {
  readonly child: string;
  readonly module: string | null;
  readonly dialect: 'iothub' | 'holdfast';
  /** The hub that it takes us for, as SDK children say it; null for others. */
  readonly hub: string | null;
}

const NAME = /^([A-Za-z0-9._-]{1,128})(?:\/([A-Za-z0-9._-]{1,128}))?$/;
/** `{HubHostName}/{clientId}/?api-version=2021-04-12&...`; older SDKs leave the question mark out. */
const SDK_USER = /^([^/]{1,255})\/([^?]{1,257})\/\??(api-version=.*)$/;

/**
 * Reads the client id and the user name of a CONNECT. A user name in the form of the device SDKs (IOTHUB.md) makes it the
 * `iothub` dialect, and must carry the client id; any other one is the name of the child (or `child/module`), whatever the
 * client id is; without one the client id is the name. null when there is no name to be had.
 */
export function clientName(clientId: string, username: string | undefined): ClientName | null {
  const sdk = username === undefined ? null : SDK_USER.exec(username);
  if (sdk !== null) {
    const named = NAME.exec(clientId);
    if (named === null || sdk[2] !== clientId) return null;
    return { child: named[1]!, module: named[2] ?? null, dialect: 'iothub', hub: sdk[1]!.toLowerCase() };
  }
  const named = NAME.exec(username === undefined || username === '' ? clientId : username);
  return named === null ? null : { child: named[1]!, module: named[2] ?? null, dialect: 'holdfast', hub: null };
}
