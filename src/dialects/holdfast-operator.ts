import { lossesTopic, PREFIX, registryTopic, statusTopic } from './holdfast.ts';

/*
 * The `holdfast` dialect from the other end: the topics by which operators talk to gateways, and what can be read out of them.
 */

/** Where a child has its topics; a module of one below it. */
function place(gateway: string, child: string, module: string | null): string {
  return `${PREFIX}/${gateway}/${child}${module === null ? '' : `/modules/${module}`}`;
}

/** The whole desired document, JSON with `$version`, retained. */
export function desiredTopic(gateway: string, child: string, module: string | null): string {
  return `${place(gateway, child, module)}/twin/desired`;
}

/** The whole reported document, JSON with `$version`, retained. */
export function reportedTopic(gateway: string, child: string, module: string | null): string {
  return `${place(gateway, child, module)}/twin/reported`;
}

/** Where a direct method is asked for and where it is answered, JSON both. */
export function methodTopics(
  gateway: string,
  child: string,
  module: string | null,
  method: string,
  requestId: string,
): { request: string; response: string } {
  const base = `${place(gateway, child, module)}/methods/${method}`;
  return { request: `${base}/req/${requestId}`, response: `${base}/res/${requestId}` };
}

/** Filters that match the same topic of every gateway. */
export const EVERY_STATUS: string = statusTopic('+');
export const EVERY_REGISTRY: string = registryTopic('+');
export const EVERY_LOSSES: string = lossesTopic('+');

/** The gateway in a topic of ours. */
export function gatewayIn(topic: string): string {
  return topic.split('/')[2] ?? '';
}
