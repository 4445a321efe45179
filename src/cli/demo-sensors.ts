import type { Reading } from '../message/message.ts';
import { temperatureIn } from './demo-watcher.ts';

/** Temperatures that are remembered of each sensor. */
const HISTORY_MAX = 120;

/** A sensor as one sees it who stands beside it. */
export interface SensorSight {
  readonly id: string;
  /** Since the start. */
  readings: number;
  /** degrees C, the latest last. */
  readonly temperatures: number[];
}

/** What the simulated sensors have said, before the gateway did anything with it. */
export class Sensors {
  readonly sights: readonly SensorSight[];

  constructor(count: number) {
    this.sights = Array.from({ length: count }, (_, index) => ({
      id: `press-${index + 1}`,
      readings: 0,
      temperatures: [],
    }));
  }

  get ids(): string[] {
    return this.sights.map(({ id }) => id);
  }

  get readings(): number {
    return this.sights.reduce((sum, { readings }) => sum + readings, 0);
  }

  saw(child: string, { body }: Reading): void {
    const sight = this.sights.find(({ id }) => id === child);
    if (sight === undefined) return;
    sight.readings++;
    const temperature = temperatureIn(body);
    if (temperature !== null) sight.temperatures.push(temperature);
    if (sight.temperatures.length > HISTORY_MAX) sight.temperatures.shift();
  }
}
