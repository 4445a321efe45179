import { holdfastUpstream } from './holdfast-upstream.ts';
import { iothubUpstream } from './iothub-upstream.ts';
import type { UpstreamDialect } from './upstream-dialect.ts';

/** The dialect by its name in the configuration. `clientId`: the MQTT client id, which Azure IoT Hub calls the device. */
export function upstreamDialect(
  gateway: string,
  { dialect, clientId }: { readonly dialect: UpstreamDialect['name']; readonly clientId: string },
): UpstreamDialect {
  return dialect === 'iothub' ? iothubUpstream(gateway, clientId) : holdfastUpstream(gateway);
}
