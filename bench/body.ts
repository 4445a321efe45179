/** Bodies for benchmarks: what a press says of itself, JSON, exactly so many bytes, no two alike. */

const TYPICAL_BYTES = 256;
/** JSON around the filling: less does not fit. */
const LEAST_BYTES = 200;

/** A small generator with a seed (mulberry32), so that each contender is given the same bodies. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Makes one body after the other; the same seed gives the same ones. */
export function bodies(seed = 1, bytes = TYPICAL_BYTES): () => Buffer {
  if (bytes < LEAST_BYTES) throw new Error(`a body needs ${LEAST_BYTES} bytes`);
  const random = chance(seed);
  let time = Date.UTC(2026, 0, 1);
  let count = 0;
  return () => {
    time += Math.round(1000 * random());
    const reading = {
      machine: { temperature: 21 + 79 * random(), pressure: 1 + 9 * random() },
      ambient: { temperature: 20.5 + random(), humidity: 24 + Math.floor(4 * random()) },
      timeCreated: new Date(time).toISOString(),
      cycle: ++count,
      samples: '',
    };
    // What is left is filled with ADC counts of 10 bits, as text.
    const left = bytes - JSON.stringify(reading).length;
    let samples = '';
    while (samples.length < left) samples += `${Math.floor(512 + 200 * (random() - 0.5))} `;
    reading.samples = samples.slice(0, left);
    return Buffer.from(JSON.stringify(reading));
  };
}

/** The same for bodies that no compression makes smaller. */
export function noise(seed = 1, bytes = TYPICAL_BYTES): () => Buffer {
  const random = chance(seed);
  return () => {
    const body = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at++) body[at] = 256 * random();
    return body;
  };
}
