/** `1 reading`, `2 readings`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Milliseconds as seconds with one decimal below ten, whole ones above. */
export function secondsText(ms: number): string {
  const secs = ms / 1000;
  return secs < 9.95 ? `${secs.toFixed(1)} s` : `${Math.round(secs)} s`;
}

/** Milliseconds as `m:ss` or `h:mm:ss`. */
export function stopwatch(ms: number): string {
  const secs = Math.floor(ms / 1000);
  const two = (part: number) => String(part).padStart(2, '0');
  const [hours, minutes] = [Math.floor(secs / 3600), Math.floor(secs / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(secs % 60)}` : `${minutes}:${two(secs % 60)}`;
}

/** Bytes as people say them. */
export function bytesText(bytes: number): string {
  return bytes < 1024 ** 2 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

/** The time of day here, `14:03:59`. */
export function timeOfDay(wall: number): string {
  return new Date(wall).toTimeString().slice(0, 8);
}

export function degrees(temperature: number | null): string {
  return temperature === null ? '' : `${temperature.toFixed(1)} °C`;
}
