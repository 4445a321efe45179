import type { LoadedConfig } from '../config/load.ts';
import { VERSION } from '../config/version.ts';
import type { SpoolDesk } from '../spool/desk.ts';

/** What the gateway publishes of itself upstream, besides its state and since when: docs/fleet.md says what each means. */
export function publishedStatus(
  gateway: { readonly spoolDesk: SpoolDesk; list(): readonly unknown[] },
  { config: { hub } }: LoadedConfig,
): Record<string, unknown> {
  return {
    version: VERSION,
    spool: gateway.spoolDesk.summary(),
    children: gateway.list().length,
    // Whoever adds a child from afar hands these on.
    hub: hub === undefined ? null : { hostName: hub.hostName, iothubName: hub.iothubName },
  };
}
