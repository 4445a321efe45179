/**
 * The fields of the sentences of NMEA 0183 that are known by name. Angles in degrees, positions in decimal degrees with north and
 * east positive, depths in metres, times as RFC 3339 writes them. An empty field is null.
 */
export type SentenceFields = Record<string, unknown>;

/** What a sentence says, from the fields after its name; absent for sentences that are passed on as they are. */
export const SENTENCES: Readonly<Record<string, (fields: readonly string[]) => SentenceFields>> = {
  GGA: (f) => ({
    time: timeOfDay(f[0]),
    lat: position(f[1], f[2]),
    lon: position(f[3], f[4]),
    quality: number(f[5]),
    satellites: number(f[6]),
    hdop: number(f[7]),
    altitude: number(f[8]),
    geoidSeparation: number(f[10]),
    dgpsAge: number(f[12]),
    dgpsStation: word(f[13]),
  }),
  RMC: (f) => ({
    time: dateTime(f[8], f[0]),
    valid: f[1] === 'A',
    lat: position(f[2], f[3]),
    lon: position(f[4], f[5]),
    speedKnots: number(f[6]),
    course: number(f[7]),
    magneticVariation: signed(f[9], f[10], 'W'),
    mode: word(f[11]),
  }),
  VTG: (f) => ({
    course: number(f[0]),
    courseMagnetic: number(f[2]),
    speedKnots: number(f[4]),
    speedKmh: number(f[6]),
    mode: word(f[8]),
  }),
  GSA: (f) => ({
    automatic: f[0] === 'A',
    fix: number(f[1]),
    satellites: f.slice(2, 14).flatMap((id) => number(id) ?? []),
    pdop: number(f[14]),
    hdop: number(f[15]),
    vdop: number(f[16]),
    system: word(f[17]),
  }),
  GSV: (f) => ({
    messages: number(f[0]),
    message: number(f[1]),
    inView: number(f[2]),
    satellites: satellites(f.slice(3)),
  }),
  ZDA: (f) => ({
    time: fullDateTime(f[3], f[2], f[1], f[0]),
    zoneHours: number(f[4]),
    zoneMinutes: number(f[5]),
  }),
  HDT: (f) => ({ heading: number(f[0]) }),
  MWV: (f) => ({
    angle: number(f[0]),
    reference: f[1] === 'R' ? 'relative' : f[1] === 'T' ? 'true' : null,
    speed: number(f[2]),
    speedUnit: WIND_UNITS[f[3] ?? ''] ?? null,
    valid: f[4] === 'A',
  }),
  DBT: (f) => ({ depth: number(f[2]), depthFeet: number(f[0]), depthFathoms: number(f[4]) }),
  DPT: (f) => ({ depth: number(f[0]), offset: number(f[1]), maxRange: number(f[2]) }),
};

const WIND_UNITS: Readonly<Record<string, string>> = { K: 'km/h', M: 'm/s', N: 'kn', S: 'mph' };
/** Fields of one satellite in a GSV: id, elevation, azimuth, signal. */
const GSV_FIELDS = 4;
const DEGREE_DIGITS = 7;

/** A decimal number, or null for anything else. */
export function number(text: string | undefined): number | null {
  return text !== undefined && /^[+-]?(?:\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : null;
}

function word(text: string | undefined): string | null {
  return text === undefined || text === '' ? null : text;
}

function signed(text: string | undefined, side: string | undefined, negative: string): number | null {
  const value = number(text);
  return value === null || side === negative ? (value === null ? null : -value) : value;
}

/** `4807.038`, `N`: degrees and minutes without anything between. */
function position(text: string | undefined, side: string | undefined): number | null {
  const parts = /^(\d{1,3})(\d{2}(?:\.\d*)?)$/.exec(text ?? '');
  if (parts === null || !/^[NSEW]$/.test(side ?? '')) return null;
  const degrees = Number(parts[1]) + Number(parts[2]) / 60;
  if (Number(parts[2]) >= 60 || degrees > (side === 'N' || side === 'S' ? 90 : 180)) return null;
  return Number((side === 'S' || side === 'W' ? -degrees : degrees).toFixed(DEGREE_DIGITS));
}

/** `123519.25` to `12:35:19.250Z`. */
function timeOfDay(text: string | undefined): string | null {
  return timeParts(text) === null ? null : `${clockText(timeParts(text)!)}Z`;
}

type TimeParts = readonly [hours: number, minutes: number, secs: number];

function timeParts(text: string | undefined): TimeParts | null {
  const parts = /^(\d{2})(\d{2})(\d{2}(?:\.\d*)?)$/.exec(text ?? '');
  if (parts === null) return null;
  const [hours, minutes, secs] = parts.slice(1).map(Number) as unknown as TimeParts;
  return hours < 24 && minutes < 60 && secs < 61 ? [hours, minutes, secs] : null;
}

function clockText([hours, minutes, secs]: TimeParts): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(hours)}:${two(minutes)}:${secs.toFixed(3).padStart(6, '0')}`;
}

/** `230394` (day, month, year of two digits) and `123519`. */
function dateTime(date: string | undefined, time: string | undefined): string | null {
  const parts = /^(\d{2})(\d{2})(\d{2})$/.exec(date ?? '');
  if (parts === null) return null;
  // GPS began in 1980.
  const year = Number(parts[3]) >= 80 ? `19${parts[3]}` : `20${parts[3]}`;
  return fullDateTime(year, parts[2], parts[1], time);
}

function fullDateTime(year?: string, month?: string, day?: string, time?: string): string | null {
  const clock = timeParts(time);
  const date = `${year}-${month?.padStart(2, '0')}-${day?.padStart(2, '0')}`;
  if (clock === null || !/^\d{4}-\d{2}-\d{2}$/.test(date)) return null;
  const midnight = Date.parse(`${date}T00:00Z`);
  // The 31st of February would be another day. Asked of the day alone: a leap second belongs to the day before.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(date)) return null;
  const [hours, minutes, secs] = clock;
  return new Date(midnight + (hours * 60 + minutes) * 60_000 + Math.round(secs * 1000)).toISOString();
}

function satellites(fields: readonly string[]): SentenceFields[] {
  const found: SentenceFields[] = [];
  for (let at = 0; at + GSV_FIELDS <= fields.length; at += GSV_FIELDS) {
    const [id, elevation, azimuth, signal] = fields.slice(at, at + GSV_FIELDS);
    if (word(id) === null) continue;
    found.push({ id: number(id), elevation: number(elevation), azimuth: number(azimuth), signal: number(signal) });
  }
  return found;
}
