import type { Order } from '../commands/orders.ts';

/** The module of the demonstration, and the one sensor that it watches; the others show what becomes of a machine without a rule. */
export const RULE = 'cooldown';
export const RULED = 'press-1';
/**
 * The published query has ten seconds and 30 degrees C. At the usual interval of 500 ms the sensor climbs by about one degree C a
 * second: with these it is reset every six seconds or so, which is often enough for an outage that somebody waits for.
 */
const WINDOW_SECS = 2;
export const HOT = 24;

const QUERY = [
  `SELECT 'reset' AS command, Max(timeCreated) AS maxEventTime`,
  `INTO output`,
  `FROM input TIMESTAMP BY timeCreated`,
  `GROUP BY TumblingWindow(second, ${WINDOW_SECS})`,
  `HAVING Avg(machine.temperature) > ${HOT}`,
];

/** The rule as a configuration has it: the route that feeds it, and the module. */
export const RULE_ROUTE = `  heat: FROM /messages WHERE $connectionDeviceId = '${RULED}' INTO BrokeredEndpoint("/modules/${RULE}/inputs/input")`;
export const RULE_MODULES = `modules:
  # Each ${WINDOW_SECS} seconds: was ${RULED} hotter than ${HOT} °C on average? Then it is reset, here and at once; what was done goes upstream too.
  - id: ${RULE}
    query: |
${QUERY.map((line) => `      ${line}`).join('\n')}
    outputs: { output: [ { command: ${RULED} } ] }`;

/** What of an output's body names it: the time of the last reading that led to it. Null in a body of another kind. */
export function maxEventTimeOf(payload: unknown): string | null {
  const { maxEventTime } = (payload ?? {}) as { maxEventTime?: unknown };
  return typeof maxEventTime === 'string' ? maxEventTime : null;
}

/** Whether it is the rule that had this done. */
export function isByRule({ id }: Order): boolean {
  return id.startsWith(`${RULE}/`);
}
