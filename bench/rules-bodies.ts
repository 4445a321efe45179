/** Devices that the readings are of, in turn. */
export const DEVICES = 1000;
/** Events that go through before those that count. */
export const WARM_UP = 50_000;
/** Time of the first reading. */
export const START_MS = Date.UTC(2031, 4, 6);
/** From one reading to the next: each device has one in a second. */
const STEP_MS = 1;

/** Readings as the published simulated sensor sends them, with the name of a device: about 190 B of JSON each. */
export function bodies(count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    // 21 to 41: half of them pass a filter of 30.
    const temperature = 21 + ((index * 7919) % 2003) / 100;
    const reading = {
      machine: { temperature, pressure: 1 + ((index * 31) % 900) / 100 },
      ambient: { temperature: 20.5 + (index % 10) / 10, humidity: 25 },
      device: `d-${index % DEVICES}`,
      timeCreated: new Date(START_MS + index * STEP_MS).toISOString(),
    };
    return Buffer.from(JSON.stringify(reading));
  });
}
